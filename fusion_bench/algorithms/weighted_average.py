"""Weighted averaging of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.algorithms.options import Weights, weights_by_name
from fusion_bench.weights.state_dict import Experts, StateDict, named_experts
from fusion_bench.weights.task_vectors import merge_tensors, ordered_sum


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
    given = experts if isinstance(experts, Mapping) else named_experts(experts)
    share = weights_by_name(list(given), weights)
    ordered = [share[name] for name in sorted(given)]  # merge_tensors hands the experts over in this order

    def rule(name: str, tensors: list[Tensor]) -> Tensor:
        return ordered_sum([w * tensor for w, tensor in zip(ordered, tensors, strict=True)])

    return merge_tensors(base, given, rule)


@dataclass(frozen=True, kw_only=True)
class WeightedAverage(MergingAlgorithm):
    """The weighted mean of the experts. See :func:`weighted_average`."""

    weights: Weights = None

    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return weighted_average(base, experts, weights=self.weights)
