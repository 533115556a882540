"""Linear interpolation between two models."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.algorithms.options import Pair, Position, checked, choose_pair
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import merge_tensors


def linear_interpolation(first: StateDict, second: StateDict, *, t: float = 0.5) -> dict[str, Tensor]:
    """The straight path from one model to another, θ(t) = (1 − t) θ_a + t θ_b.

    Args:
        first: θ_a, reached at t = 0; gives what is not a floating tensor.
        second: θ_b, reached at t = 1.
        t: position, in [0, 1].

    Source: Frankle et al. 2020, "Linear mode connectivity", arXiv 1912.05671; from the base to an expert it is
    WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903.

    Example:
        >>> import torch
        >>> linear_interpolation({"w": torch.zeros(2)}, {"w": torch.ones(2)}, t=0.25)
        {'w': tensor([0.2500, 0.2500])}
    """
    t = checked("t", t, Position)
    return merge_tensors(first, [first, second], lambda name, ends: (1 - t) * ends[0] + t * ends[1])


@dataclass(frozen=True, kw_only=True)
class LinearInterpolation(MergingAlgorithm):
    """Linear interpolation of two of the pool's models. See :func:`linear_interpolation`.

    Two experts are what the method is defined for. ``between`` names them (``base`` may be one); without it they are
    the pool's first two experts, and further ones are not looked at.

    Example:
        >>> LinearInterpolation(between=["base", "mnist"]).needed(["cars", "mnist"])
        ['mnist']
    """

    t: Position = 0.5
    between: Pair = None

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        return [name for name in choose_pair(expert_names, self.between) if name != "base"]

    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        first, second = choose_pair(list(experts), self.between)
        models = {**experts, "base": base}
        return linear_interpolation(models[first], models[second], t=self.t)
