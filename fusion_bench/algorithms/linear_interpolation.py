"""Linear interpolation between two models."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import PathAlgorithm
from fusion_bench.algorithms.options import made
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors


def linear_interpolation(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    t: float = 0.5,
    between: tuple[str, str] | None = None,
) -> dict[str, Tensor]:
    """The straight path from one model to another, θ(t) = (1 − t) θ_a + t θ_b.

    Args:
        base: gives what is not a floating tensor, and may be an end of the path.
        experts: the models to choose from.
        t: position, in [0, 1]: θ_a at 0, θ_b at 1.
        between: the names of θ_a and θ_b, of which one may be ``"base"``; the first two experts when ``None``.

    Source: Frankle et al. 2020, "Linear mode connectivity", arXiv 1912.05671; from the base to an expert it is
    WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903.

    Example:
        >>> import torch
        >>> experts = {"mnist": {"w": torch.zeros(1)}, "svhn": {"w": torch.ones(1)}}
        >>> linear_interpolation({"w": torch.zeros(1)}, experts, t=0.25)
        {'w': tensor([0.2500])}
    """
    return made(LinearInterpolation, t=t, between=between).merge(base, experts)


def straight(first: Tensor, second: Tensor, t: float) -> Tensor:
    """The formula of :func:`linear_interpolation` for one tensor.

    Example:
        >>> import torch
        >>> straight(torch.zeros(1), torch.ones(1), 0.75)
        tensor([0.7500])
    """
    return (1 - t) * first + t * second


@dataclass(frozen=True, kw_only=True)
class LinearInterpolation(PathAlgorithm):
    """Linear interpolation of two of the pool's models. See :func:`linear_interpolation`.

    Example:
        >>> LinearInterpolation(between=["base", "mnist"]).needed(["cars", "mnist"])
        ['mnist']
    """

    def prepare(self, scan: Scan) -> Merge:
        return Vectors(self.ends(scan), centred=False, factors=(1 - self.t, self.t)).total
