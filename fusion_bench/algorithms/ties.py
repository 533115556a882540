"""TIES: trim, elect sign, disjoint merge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, checked
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector, ordered_sum
from fusion_bench.weights.topk import magnitude_cut


def ties(
    base: StateDict, experts: Experts | Sequence[StateDict], *, density: float = 0.2, scaling: float = 1.0
) -> dict[str, Tensor]:
    """Merge task vectors after trimming small entries and settling the sign of each entry.

    1. Trim: of each task vector, taken as a whole, exactly round(density · n) entries of largest magnitude stay; equal
       ones at the threshold stay in order of position (tensors by name, entries row-major).
    2. Elect: each entry's sign is that of the trimmed sum Σᵢ Δᵢ ("mass"). A sum of zero takes the majority sign of the
       elected entries of the whole model; if that is balanced too, the entry is not moved.
    3. Disjoint mean: the mean of the trimmed entries that have the elected sign.

    θ = θ₀ + λ · that.

    Args:
        base: θ₀.
        experts: θᵢ.
        density: share of entries kept per expert, in (0, 1].
        scaling: λ, any finite number.

    Source: Yadav et al. 2023, "TIES-Merging", arXiv 2306.01708.

    Example:
        >>> base = {"w": torch.zeros(3)}
        >>> experts = [{"w": torch.tensor([4.0, 1.0, -2.0])}, {"w": torch.tensor([2.0, 0.5, 3.0])}]
        >>> ties(base, experts, density=2 / 3)
        {'w': tensor([3., 0., 3.])}
    """
    scaling = checked("scaling", scaling, Scaling)
    return add_task_vector(base, elect_and_average(trimmed(TaskVectors.of(base, experts), density)), scaling=scaling)


def trimmed(vectors: TaskVectors, density: float) -> TaskVectors:
    """Step 1: each task vector with its largest entries only.

    Example:
        >>> vectors = TaskVectors.of({"w": torch.zeros(3)}, {"a": {"w": torch.tensor([1.0, -3.0, 2.0])}})
        >>> trimmed(vectors, 1 / 3).deltas("w")
        [tensor([ 0., -3.,  0.], dtype=torch.float64)]
    """
    checked("density", density, Density)
    cuts = {expert: magnitude_cut(vectors, expert, density) for expert in vectors.experts}
    return vectors.map(lambda expert, name, delta: cuts[expert].trim(delta, offset=vectors.offsets[name]))


def elect_and_average(vectors: TaskVectors) -> dict[str, Tensor]:
    """Steps 2 and 3, on trimmed task vectors: the merged task vector.

    Example:
        >>> vectors = TaskVectors.of({"w": torch.zeros(2)}, [{"w": torch.ones(2)}, {"w": torch.tensor([3.0, -4.0])}])
        >>> elect_and_average(vectors)
        {'w': tensor([ 2., -4.], dtype=torch.float64)}
    """
    balance, undecided = 0, []

    def rule(name: str, deltas: list[Tensor]) -> Tensor:
        nonlocal balance
        sign = elect(deltas)
        balance += int(sign.sum())
        cancelled = sign == 0
        if any(bool(delta[cancelled].any()) for delta in deltas):
            undecided.append(name)  # entries cancel exactly: they wait for the majority of the whole model
        return disjoint_mean(deltas, sign)

    merged = vectors.merge(rule)
    majority = (balance > 0) - (balance < 0)
    for name in undecided:
        deltas = vectors.deltas(name)
        sign = elect(deltas)
        merged[name] = disjoint_mean(deltas, torch.where(sign == 0, majority, sign))
    return merged


def elect(deltas: Sequence[Tensor]) -> Tensor:
    """The sign of the summed entries: −1, 0 or 1.

    Example:
        >>> elect([torch.tensor([1.0, -1.0, 2.0]), torch.tensor([-3.0, 1.0, 0.0])])
        tensor([-1.,  0.,  1.])
    """
    return ordered_sum(deltas).sign()


def disjoint_mean(deltas: Sequence[Tensor], sign: Tensor) -> Tensor:
    """The mean, entry by entry, over those tensors that have the given sign there; zero where none has.

    Example:
        >>> disjoint_mean([torch.tensor([1.0, -1.0]), torch.tensor([3.0, 2.0])], torch.tensor([1.0, 1.0]))
        tensor([2., 2.])
    """
    total, count = torch.zeros_like(deltas[0]), torch.zeros_like(deltas[0])
    for delta in deltas:
        agrees = delta * sign > 0
        total.addcmul_(delta, agrees.to(delta.dtype))
        count += agrees
    return total / count.clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class Ties(TaskVectorAlgorithm):
    """Trim, elect sign, disjoint mean. See :func:`ties`."""

    density: Density = 0.2
    scaling: Scaling = 1.0

    def task_vector(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return elect_and_average(trimmed(TaskVectors.of(base, experts), self.density))
