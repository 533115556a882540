"""Spherical linear interpolation between two models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import PathAlgorithm
from fusion_bench.algorithms.options import made
from fusion_bench.weights.reduction import tensor_sums
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors, pair_sums

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
    return made(Slerp, t=t, between=between).merge(base, experts)


class Angle(NamedTuple):
    """Sums over a pair of tensors, of which lengths and angle follow."""

    first: float  # Σ a²
    second: float  # Σ b²
    difference: float  # Σ (a − b)²
    total: float  # Σ (a + b)²

    def coefficients(self, t: float) -> tuple[float, float]:
        """What the two tensors are multiplied with at position ``t``.

        sin²(Ω/2) and cos²(Ω/2) come from the lengths of a − b and a + b, which keeps small angles accurate: the
        cosine of a fine-tuned model with its base differs from 1 by less than rounding.

        Example:
            >>> Angle(first=4.0, second=16.0, difference=4.0, total=36.0).coefficients(0.25)  # parallel
            (0.75, 0.25)
        """
        lengths = math.sqrt(self.first), math.sqrt(self.second)
        product, unequal = 4 * lengths[0] * lengths[1], (lengths[0] - lengths[1]) ** 2
        if product == 0:
            return 1 - t, t
        sine = math.sqrt(max(0.0, (self.difference - unequal) / product))
        cosine = math.sqrt(max(0.0, (self.total - unequal) / product))
        angle = 2 * math.atan2(sine, cosine)
        if math.sin(angle) < _STRAIGHT:
            return 1 - t, t
        return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def arc(first: Tensor, second: Tensor, t: float) -> Tensor:
    """The formula of :func:`slerp` for one tensor.

    Example:
        >>> import torch
        >>> arc(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.0]), 0.5)
        tensor([3., 0.])
    """
    a, b = first.double(), second.double()
    angle = Angle(*(float(vector.square().sum()) for vector in (a, b, a - b, a + b)))
    start, end = angle.coefficients(t)
    return start * first + end * second


@dataclass(frozen=True, kw_only=True)
class Slerp(PathAlgorithm):
    """Spherical interpolation of two of the pool's models. See :func:`slerp`."""

    def passes(self) -> int:
        return 2

    def prepare(self, scan: Scan) -> Merge:
        ends = self.ends(scan)
        sums = tensor_sums(scan, lambda piece: pair_sums(piece, *ends), "measure angles")
        found = {name: Angle(*lengths).coefficients(self.t) for name, lengths in sums.items()}
        start, end = ({name: pair[at] for name, pair in found.items()} for at in (0, 1))
        return Vectors(ends, centred=False, factors=(start, end)).total
