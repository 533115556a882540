"""Weighted averaging of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.algorithms.options import Weights, made, weights_by_name
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors


def weighted_average(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    weights: Sequence[float] | Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The weighted mean of the experts, θ = Σᵢ wᵢ θᵢ / Σᵢ wᵢ; the base gives only what is not a floating tensor.

    Args:
        base: θ₀.
        experts: θᵢ, T of them.
        weights: wᵢ, in the order of ``experts`` or by name; equal when ``None``. Negative ones extrapolate.

    Raises:
        FusionBenchError: not one weight per expert, or a sum of zero.

    Source: Wortsman et al. 2022, "Model soups", arXiv 2203.05482.

    Example:
        >>> import torch
        >>> weighted_average({"w": torch.zeros(1)}, [{"w": torch.ones(1)}, {"w": torch.zeros(1)}], weights=[3, 1])
        {'w': tensor([0.7500])}
    """
    return made(WeightedAverage, weights=weights).merge(base, experts)


@dataclass(frozen=True, kw_only=True)
class WeightedAverage(MergingAlgorithm):
    """The weighted mean of the experts. See :func:`weighted_average`."""

    weights: Weights = None

    def prepare(self, scan: Scan) -> Merge:
        share = weights_by_name(scan.given, self.weights)
        shares = tuple(share[name] for name in scan.experts)
        return Vectors(tuple(range(len(shares))), centred=False, factors=shares).total
