"""Spherical linear interpolation between two models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.algorithms.options import Pair, Position, checked, choose_pair
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import merge_tensors

_STRAIGHT = 1e-7  # below this sine the arc and the straight line agree to within float32


def slerp(first: StateDict, second: StateDict, *, t: float = 0.5) -> dict[str, Tensor]:
    """The great-circle path between two models, tensor by tensor.

    θ(t) = [sin((1 − t) Ω) θ_a + sin(t Ω) θ_b] / sin Ω, where Ω is the angle between the two flattened tensors. The
    tensors enter un-normalised, so their lengths are interpolated as well. Where the angle has no sine to divide by
    (parallel, antiparallel or zero tensors) the path is straight. The formula is used for every other angle, also for
    those above a cosine of 0.9995, where published implementations switch to a straight line.

    Args:
        first: θ_a, reached at t = 0; gives what is not a floating tensor.
        second: θ_b, reached at t = 1.
        t: position, in [0, 1].

    Source: Shoemake 1985, "Animating rotation with quaternion curves", SIGGRAPH.

    Example:
        >>> import torch
        >>> slerp({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}, t=0.5)
        {'w': tensor([0.7071, 0.7071])}
    """
    t = checked("t", t, Position)
    return merge_tensors(first, [first, second], lambda name, ends: slerp_tensor(ends[0], ends[1], t))


def slerp_tensor(first: Tensor, second: Tensor, t: float) -> Tensor:
    """The formula of :func:`slerp` for one tensor.

    Example:
        >>> import torch
        >>> slerp_tensor(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.0]), 0.5)
        tensor([3., 0.])
    """
    lengths = float(first.norm()), float(second.norm())
    if min(lengths) == 0:
        return (1 - t) * first + t * second
    a, b = first / lengths[0], second / lengths[1]
    angle = 2 * math.atan2(float((a - b).norm()), float((a + b).norm()))  # accurate at small angles, unlike acos
    if math.sin(angle) < _STRAIGHT:
        return (1 - t) * first + t * second
    return (math.sin((1 - t) * angle) * first + math.sin(t * angle) * second) / math.sin(angle)


@dataclass(frozen=True, kw_only=True)
class Slerp(MergingAlgorithm):
    """Spherical interpolation of two of the pool's models. See :func:`slerp`.

    Two experts are what the method is defined for. ``between`` names them (``base`` may be one); without it they are
    the pool's first two experts, and further ones are not looked at.
    """

    t: Position = 0.5
    between: Pair = None

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        return [name for name in choose_pair(expert_names, self.between) if name != "base"]

    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        first, second = choose_pair(list(experts), self.between)
        models = {**experts, "base": base}
        return slerp(models[first], models[second], t=self.t)
