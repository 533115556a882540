"""Exactly the k entries of largest magnitude of a whole task vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion_bench.weights.task_vectors import TaskVectors


@dataclass(frozen=True)
class Cut:
    """What survives trimming: magnitudes above ``threshold``, and those equal to it up to position ``last``.

    Positions count through the flattened vector; ``last`` is −1 where no equal entry survives.

    Example:
        >>> Cut(threshold=1.0, last=2).trim(torch.tensor([3.0, 0.5, -1.0, 1.0]))
        tensor([ 3.,  0., -1.,  0.])
    """

    threshold: float
    last: int

    def trim(self, values: Tensor, *, offset: int = 0) -> Tensor:
        """``values`` with what does not survive set to zero; ``offset`` is the position of their first entry."""
        magnitudes = values.abs()
        keep = magnitudes > self.threshold
        equal = magnitudes == self.threshold
        if bool(equal.any()):
            positions = torch.arange(offset, offset + values.numel(), device=values.device).reshape(values.shape)
            keep |= equal & (positions <= self.last)
        return torch.where(keep, values, torch.zeros_like(values))


def kept_count(density: float, size: int) -> int:
    """``round(density * size)``, halves to even: how many entries a density keeps.

    Example:
        >>> kept_count(0.2, 11)
        2
    """
    return round(density * size)


def magnitude_cut(vectors: TaskVectors, expert: str, density: float) -> Cut:
    """The cut that keeps exactly ``round(density * n)`` entries of one expert's whole task vector.

    Equal magnitudes at the threshold survive in order of position: tensors by name, entries in row-major order.

    Args:
        vectors: the task vectors, of n entries each.
        expert: whose.
        density: share kept, in (0, 1].

    Example:
        >>> vectors = TaskVectors.of({"w": torch.zeros(4)}, {"a": {"w": torch.tensor([1.0, -3.0, 2.0, 1.0])}})
        >>> magnitude_cut(vectors, "a", 0.75)
        Cut(threshold=1.0, last=0)
    """
    size, keep = vectors.size, kept_count(density, vectors.size)
    if keep >= size:
        return Cut(threshold=-1.0, last=-1)
    magnitudes = np.empty(size)
    for name, offset in vectors.offsets.items():
        delta = vectors.delta(expert, name).abs().flatten().cpu().numpy()
        magnitudes[offset : offset + delta.size] = delta
    if keep == 0:
        return Cut(threshold=float("inf"), last=-1)
    threshold = float(np.partition(magnitudes, size - keep)[size - keep])
    quota = keep - int(np.count_nonzero(magnitudes > threshold))
    last = int(np.flatnonzero(magnitudes == threshold)[quota - 1])  # quota >= 1: the threshold is the keep-th largest
    return Cut(threshold, last)
