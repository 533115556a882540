"""DARE (drop and rescale) before TIES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.dare_task_arithmetic import Rescale, thinned
from fusion_bench.algorithms.options import Density, Scaling, Seed, made
from fusion_bench.algorithms.ties import trimmed
from fusion_bench.weights.election import Combine, Election, Undecided
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict


def dare_ties(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    density: float = 0.5,
    trim_density: float = 0.2,
    scaling: float = 1.0,
    rescale: Rescale = "density",
    seed: int = 0,
) -> dict[str, Tensor]:
    """TIES on task vectors that DARE has thinned: Δᵢ → mᵢ ⊙ Δᵢ / density, then trim, elect sign, disjoint mean.

    Args:
        base: θ₀.
        experts: θᵢ; their names key the masks (positions do, for a sequence).
        density: chance that an entry survives DARE, in (0, 1]: one minus the paper's drop rate p.
        trim_density: share of entries that TIES then keeps, of all entries, in (0, 1]. 1 leaves the trimming to DARE
            alone, which is what some libraries call "dare_ties".
        scaling: λ, any finite number.
        rescale: see ``dare_task_arithmetic``.
        seed: of the masks.

    Source: Yu et al. 2024, "Language models are super Mario", arXiv 2311.03099; Yadav et al. 2023, arXiv 2306.01708.

    Example:
        >>> import torch
        >>> dare_ties({"w": torch.zeros(6)}, [{"w": torch.ones(6)}], density=0.5, trim_density=1.0)["w"].unique()
        tensor([0., 2.])
    """
    chosen = {"density": density, "trim_density": trim_density, "rescale": rescale, "seed": seed}
    return made(DareTies, scaling=scaling, **chosen).merge(base, experts)


@dataclass(frozen=True, kw_only=True)
class DareTies(TaskVectorAlgorithm):
    """TIES on randomly thinned task vectors. See :func:`dare_ties`."""

    random: ClassVar[bool] = True

    density: Density = 0.5
    trim_density: Density = 0.2
    scaling: Scaling = 1.0
    rescale: Rescale = "density"
    combine: Combine = "mean"
    undecided: Undecided = "majority"
    seed: Seed = 0

    def passes(self) -> int:
        return 1 + (self.rescale == "l1") + (self.trim_density < 1)

    def prepare(self, scan: Scan) -> Merge:
        vectors = thinned(scan, density=self.density, seed=self.seed, rescale=self.rescale)
        return Election(
            trimmed(scan, vectors, self.trim_density), [1.0] * len(scan.experts), self.combine, self.undecided
        )
