"""DARE (drop and rescale) before task arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, Seed, checked
from fusion_bench.algorithms.task_arithmetic import summed
from fusion_bench.weights.masks import bernoulli_mask
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector


def dare_task_arithmetic(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    density: float = 0.5,
    scaling: float = 0.3,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Task arithmetic on randomly thinned task vectors, θ = θ₀ + λ Σᵢ mᵢ ⊙ Δᵢ / density with mᵢ ~ Bernoulli(density).

    Args:
        base: θ₀.
        experts: θᵢ; their names key the masks (positions do, for a sequence).
        density: chance that an entry stays, in (0, 1]: one minus the paper's drop rate p.
        scaling: λ, any finite number.
        seed: of the masks, which depend on (seed, expert, tensor name, entry) and nothing else.

    Source: Yu et al. 2024, "Language models are super Mario", arXiv 2311.03099.

    Example:
        >>> import torch
        >>> dare_task_arithmetic({"w": torch.zeros(6)}, [{"w": torch.ones(6)}], density=0.5, scaling=1.0)["w"].unique()
        tensor([0., 2.])
    """
    scaling = checked("scaling", scaling, Scaling)
    vectors = dared(TaskVectors.of(base, experts), density=density, seed=seed)
    return add_task_vector(base, summed(vectors), scaling=scaling)


def dared(vectors: TaskVectors, *, density: float, seed: int) -> TaskVectors:
    """Each task vector with entries dropped at random and the others divided by ``density``; its mean over seeds is Δᵢ.

    Example:
        >>> import torch
        >>> vectors = TaskVectors.of({"w": torch.zeros(2)}, {"a": {"w": torch.ones(2)}})
        >>> dared(vectors, density=1.0, seed=0).deltas("w")
        [tensor([1., 1.], dtype=torch.float64)]
    """
    checked("density", density, Density)
    checked("seed", seed, Seed)

    def drop_and_rescale(expert: str, name: str, delta: Tensor) -> Tensor:
        mask = bernoulli_mask(delta.numel(), density, seed=seed, expert=expert, tensor=name)
        kept = delta * mask.to(delta.device).reshape(delta.shape)
        return kept.div_(density)

    return vectors.map(drop_and_rescale)


@dataclass(frozen=True, kw_only=True)
class DareTaskArithmetic(TaskVectorAlgorithm):
    """Task arithmetic on randomly thinned task vectors. See :func:`dare_task_arithmetic`."""

    random: ClassVar[bool] = True

    density: Density = 0.5
    scaling: Scaling = 0.3
    seed: Seed = 0

    def task_vector(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return summed(dared(TaskVectors.of(base, experts), density=self.density, seed=self.seed))
