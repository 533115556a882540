"""Spherical linear interpolation between two models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import PathAlgorithm, merge_pair
from fusion_bench.algorithms.linear_interpolation import straight
from fusion_bench.algorithms.options import Position, checked
from fusion_bench.weights.state_dict import Experts, StateDict

_STRAIGHT = 1e-7  # below this sine the arc and the straight line agree to within float32


def slerp(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    t: float = 0.5,
    between: tuple[str, str] | None = None,
) -> dict[str, Tensor]:
    """The great-circle path between two models, tensor by tensor.

    θ(t) = [sin((1 − t) Ω) θ_a + sin(t Ω) θ_b] / sin Ω, where Ω is the angle between the two flattened tensors. The
    tensors enter un-normalised, so their lengths are interpolated as well. Where the angle has no sine to divide by
    (parallel, antiparallel or zero tensors) the path is straight. The formula is used for every other angle, also for
    those above a cosine of 0.9995, where published implementations switch to a straight line.

    Args:
        base: gives what is not a floating tensor, and may be an end of the path.
        experts: the models to choose from.
        t: position, in [0, 1]: θ_a at 0, θ_b at 1.
        between: the names of θ_a and θ_b, of which one may be ``"base"``; the first two experts when ``None``.

    Source: Shoemake 1985, "Animating rotation with quaternion curves", SIGGRAPH.

    Example:
        >>> import torch
        >>> experts = {"mnist": {"w": torch.tensor([1.0, 0.0])}, "svhn": {"w": torch.tensor([0.0, 1.0])}}
        >>> slerp({"w": torch.zeros(2)}, experts)
        {'w': tensor([0.7071, 0.7071])}
    """
    t = checked("t", t, Position)
    return merge_pair(base, experts, lambda first, second: arc(first, second, t), between=between)


def arc(first: Tensor, second: Tensor, t: float) -> Tensor:
    """The formula of :func:`slerp` for one tensor.

    Example:
        >>> import torch
        >>> arc(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.0]), 0.5)
        tensor([3., 0.])
    """
    lengths = float(first.norm()), float(second.norm())
    if min(lengths) == 0:
        return straight(first, second, t)
    a, b = first / lengths[0], second / lengths[1]
    angle = 2 * math.atan2(float((a - b).norm()), float((a + b).norm()))  # accurate at small angles, unlike acos
    if math.sin(angle) < _STRAIGHT:
        return straight(first, second, t)
    return (math.sin((1 - t) * angle) * first + math.sin(t * angle) * second) / math.sin(angle)


@dataclass(frozen=True, kw_only=True)
class Slerp(PathAlgorithm):
    """Spherical interpolation of two of the pool's models. See :func:`slerp`."""

    def point(self, first: Tensor, second: Tensor) -> Tensor:
        return arc(first, second, self.t)
