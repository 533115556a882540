"""Do experts work in the same directions: overlaps of leading singular subspaces, and the subspace alignment ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.analysis.deltas import Array, delta_matrix, for_each, named
from fusion_bench.analysis.spectra import energy_rank, some_matrices
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.state_dict import Experts, StateDict

ENERGY = 0.5
EPSILON = 0.05


@dataclass(frozen=True)
class SubspaceOverlap:
    """Overlaps of the leading singular subspaces of n experts, for each matrix.

    Attributes:
        names: of the experts.
        left, right: (n, n) for each matrix; see `subspace_overlap`.
        left_chance, right_chance: what random subspaces of the same dimensions in the same space have on average.
        ranks: k of each expert, (n,).
    """

    names: tuple[str, ...]
    left: dict[str, Array]
    right: dict[str, Array]
    left_chance: dict[str, Array]
    right_chance: dict[str, Array]
    ranks: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class SubspaceAlignment:
    """Subspace alignment ratios, for each matrix.

    Attributes:
        names: of the experts.
        pairs: (n, n): how much of the row's Δ lies in the column's subspace.
        merged: (n,): how much of each Δ lies in the subspace of their sum.
        pairs_chance, merged_chance: sqrt(k / m), what a random subspace of that dimension keeps (root mean square).
        ranks: k of each expert and, last, of the sum, (n + 1,).
    """

    names: tuple[str, ...]
    pairs: dict[str, Array]
    merged: dict[str, Array]
    pairs_chance: dict[str, Array]
    merged_chance: dict[str, Array]
    ranks: dict[str, NDArray[np.int64]]


def subspace_overlap(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    rank: int | None = None,
    energy: float = ENERGY,
    progress: Progress = silent,
) -> SubspaceOverlap:
    """‖U_iᵀ U_j‖_F² / min(k_i, k_j) of the leading left singular vectors U_i (m, k_i) of Δ_i; so for the right ones.

    With k_i = k_j = k it is the mean squared cosine of the principal angles between two subspaces: 1 where they are the
    same, 0 where they are orthogonal; with different dimensions it is 1 where the smaller lies in the larger. It is
    the subspace similarity of Hu et al. 2021, "LoRA", arXiv 2106.09685. Two random subspaces of R^m have
    max(k_i, k_j) / m on average: compare with that before calling an overlap large.

    A matrix that an expert leaves as it is has no subspace: its overlaps are 0, with itself too. Where the k-th and the
    next singular value are equal, the subspace is one of several equally leading ones.

    Args:
        base: θ_0.
        experts: θ_i; a sequence gets its positions as names.
        rank: k for all; where Δ_i has fewer singular values above rounding, those.
        energy: without ``rank``, k_i is the fewest directions that hold this share of ‖Δ_i‖_F², in (0, 1].
        progress: told of every matrix.

    Raises:
        FusionBenchError: see `deltas.named`; no tensor is a matrix; ``rank`` below 1; ``energy`` out of range.

    Example:
        >>> a, b = torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 1.0]))
        >>> subspace_overlap({"w": torch.zeros(2, 2)}, [{"w": a}, {"w": b}], rank=1).left["w"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if rank is not None and rank < 1:
        raise FusionBenchError(f"rank = {rank} is no number of directions", hint="1 or more, or None")
    states = named(base, experts)
    found = SubspaceOverlap(tuple(states), {}, {}, {}, {}, {})
    shapes = some_matrices(base)
    for done, (name, shape) in enumerate(shapes.items()):
        progress("subspaces", done, len(shapes))
        deltas = [delta_matrix(base, state, name, shape) for state in states.values()]
        bases = for_each(lambda delta: _leading(delta, rank, energy), deltas)
        ranks = np.array([left.shape[1] for left, _ in bases])
        found.ranks[name] = ranks
        found.left[name] = _overlaps([left for left, _ in bases])
        found.right[name] = _overlaps([right for _, right in bases])
        larger = np.where(np.minimum.outer(ranks, ranks) > 0, np.maximum.outer(ranks, ranks), 0)
        found.left_chance[name], found.right_chance[name] = larger / shape[0], larger / shape[1]
    return found


def subspace_alignment(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    epsilon: float = EPSILON,
    progress: Progress = silent,
) -> SubspaceAlignment:
    """SAR(Δ_i, M) = ‖U_M U_Mᵀ Δ_i‖_F / ‖Δ_i‖_F, with U_M the k leading left singular vectors of M.

    k is the fewest with ‖M − U_M U_Mᵀ M‖_F ≤ ε ‖M‖_F. M is the sum of all task vectors (their average has the same
    subspace) for `merged`, and one expert's for `pairs`. In [0, 1]; it does not change when Δ_i or M is scaled. A
    Δ_i or an M that is zero has the ratio 0. A subspace that takes up most of the space keeps most of anything: compare
    with sqrt(k / m).

    Args:
        base: θ_0.
        experts: θ_i; a sequence gets its positions as names.
        epsilon: ε, in [0, 1): 0.05 in the paper.
        progress: told of every matrix.

    Raises:
        FusionBenchError: see `deltas.named`; no tensor is a matrix; ``epsilon`` out of range.

    Source: Marczak et al. 2025, "No task left behind", arXiv 2502.04959, equations 5 and 6.

    Example:
        >>> a, b = torch.diag(torch.tensor([3.0, 0.0])), torch.diag(torch.tensor([0.0, 0.1]))
        >>> found = subspace_alignment({"w": torch.zeros(2, 2)}, [{"w": a}, {"w": b}])
        >>> found.merged["w"].tolist()  # of their sum, the direction of the second is too small to count
        [1.0, 0.0]
    """
    if not 0.0 <= epsilon < 1.0:
        raise FusionBenchError(f"epsilon = {epsilon} is out of range", hint="a share of the norm, in [0, 1)")
    states = named(base, experts)
    found = SubspaceAlignment(tuple(states), {}, {}, {}, {}, {})
    shapes = some_matrices(base)
    for done, (name, shape) in enumerate(shapes.items()):
        progress("alignment", done, len(shapes))
        deltas = [delta_matrix(base, state, name, shape) for state in states.values()]
        total = torch.stack(deltas).sum(dim=0)
        subspaces = for_each(lambda matrix: _close(matrix, epsilon), [*deltas, total])
        lengths = [float(matrix.norm()) for matrix in deltas]
        kept = np.array(
            [
                [float((u.T @ delta).norm()) / length if length else 0.0 for u in subspaces]
                for delta, length in zip(deltas, lengths, strict=True)
            ]
        )
        kept = np.minimum(kept, 1.0)
        ranks = np.array([u.shape[1] for u in subspaces])
        chance = np.where(np.array(lengths)[:, None] > 0, np.sqrt(ranks / shape[0]), 0.0)
        found.ranks[name] = ranks
        found.pairs[name], found.merged[name] = kept[:, :-1], kept[:, -1]
        found.pairs_chance[name], found.merged_chance[name] = chance[:, :-1], chance[:, -1]
    return found


def mean_over(matrices: dict[str, Array]) -> Array:
    """The unweighted mean over matrices.

    Example:
        >>> mean_over({"a": np.zeros(2), "b": np.ones(2)}).tolist()
        [0.5, 0.5]
    """
    return np.mean(list(matrices.values()), axis=0)


def _leading(delta: Tensor, rank: int | None, energy: float) -> tuple[Tensor, Tensor]:
    """Left (m, k) and right (n, k) singular vectors."""
    left, values, right_t = torch.linalg.svd(delta, full_matrices=False)
    if rank is None:
        k = energy_rank(values.numpy(), energy)
    else:
        # singular values that are nothing but rounding have no direction of their own
        floor = float(values[0]) * max(delta.shape) * torch.finfo(delta.dtype).eps
        k = min(rank, int((values > floor).sum()))
    return left[:, :k], right_t[:k].T


def _close(matrix: Tensor, epsilon: float) -> Tensor:
    """Left singular vectors (m, k) that leave out at most a share ``epsilon`` of the norm."""
    left, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    squares = values.numpy() ** 2
    rest = np.append(np.cumsum(squares[::-1])[::-1], 0.0)  # rest[k]: of the norm's square, without k directions
    if not rest[0]:
        return left[:, :0]
    return left[:, : int(np.argmax(rest <= epsilon**2 * rest[0] + 1e-28 * rest[0]))]


def _overlaps(bases: Sequence[Tensor]) -> Array:
    found = np.zeros((len(bases), len(bases)))
    for i, one in enumerate(bases):
        for j, other in enumerate(bases[: i + 1]):
            smaller = min(one.shape[1], other.shape[1])
            if smaller:
                found[i, j] = found[j, i] = min(1.0, float((one.T @ other).square().sum()) / smaller)
    return found
