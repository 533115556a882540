"""Simple averaging of weights."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors


def simple_average(base: StateDict, experts: Experts | Sequence[StateDict]) -> dict[str, Tensor]:
    """The mean of the experts, θ = (1/T) Σᵢ θᵢ; the base gives only what is not a floating tensor.

    Source: Wortsman et al. 2022, "Model soups", arXiv 2203.05482 (uniform soup).

    Example:
        >>> import torch
        >>> simple_average({"w": torch.zeros(2)}, [{"w": torch.ones(2)}, {"w": torch.full((2,), 3.0)}])
        {'w': tensor([2., 2.])}
    """
    return SimpleAverage().merge(base, experts)


@dataclass(frozen=True, kw_only=True)
class SimpleAverage(MergingAlgorithm):
    """The mean of the experts; no option. See :func:`simple_average`."""

    def prepare(self, scan: Scan) -> Merge:
        count = len(scan.experts)
        return Vectors(tuple(range(count)), centred=False, divisor=count).total
