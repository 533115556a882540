"""Singular values of task vectors, matrix by matrix, and how many directions they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fusion_bench.analysis.deltas import Array, delta_matrix, for_each, matrices, named
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.state_dict import Experts, StateDict


@dataclass(frozen=True)
class Spectra:
    """The singular values of every matrix of n task vectors.

    Attributes:
        names: of the experts.
        shapes: rows and columns of each matrix.
        values: for each matrix (n, r), a row per expert in descending order; r is the smaller side.
    """

    names: tuple[str, ...]
    shapes: dict[str, tuple[int, int]]
    values: dict[str, Array]

    def effective_ranks(self) -> dict[str, Array]:
        """`effective_rank` of each matrix, (n,)."""
        return {key: np.array([effective_rank(row) for row in found]) for key, found in self.values.items()}

    def stable_ranks(self) -> dict[str, Array]:
        """`stable_rank` of each matrix, (n,)."""
        return {key: np.array([stable_rank(row) for row in found]) for key, found in self.values.items()}

    def profile(self, points: int = 33) -> tuple[Array, Array]:
        """The typical shape of a spectrum: σ/σ_1 at the same relative position of all matrices, and their mean.

        Returns:
            Positions in [0, 1] (points,): 0 is the largest singular value, 1 the last; and means over the matrices
            (n, points), interpolated linearly between singular values. A matrix that an expert leaves as it is does not
            count for that expert; an expert that moves no matrix has zeros.
        """
        at = np.linspace(0.0, 1.0, points)
        total, count = np.zeros((len(self.names), points)), np.zeros((len(self.names), 1))
        for found in self.values.values():
            positions = np.linspace(0.0, 1.0, found.shape[1])
            for i, row in enumerate(found):
                if row[0] > 0:
                    total[i] += np.interp(at, positions, row / row[0])
                    count[i] += 1
        return at, total / np.maximum(count, 1)


def singular_spectra(
    base: StateDict, experts: Experts | Sequence[StateDict], *, progress: Progress = silent
) -> Spectra:
    """σ_1 ≥ σ_2 ≥ … of every expert's Δ, for every tensor that is a matrix (`deltas.matrices` says which are).

    Computed by LAPACK in ``float64``, one matrix at a time.

    Args:
        base: θ_0.
        experts: θ_i; a sequence gets its positions as names.
        progress: told of every matrix.

    Raises:
        FusionBenchError: see `deltas.named`; or no tensor is a matrix.

    Example:
        >>> base, expert = {"w": torch.zeros(2, 2)}, {"w": torch.diag(torch.tensor([3.0, 4.0]))}
        >>> singular_spectra(base, {"a": expert}).values["w"].tolist()
        [[4.0, 3.0]]
    """
    states = named(base, experts)
    shapes = some_matrices(base)
    values = {}
    for done, (name, shape) in enumerate(shapes.items()):
        progress("singular values", done, len(shapes))
        deltas = (delta_matrix(base, state, name, shape) for state in states.values())
        values[name] = np.stack([found.numpy() for found in for_each(torch.linalg.svdvals, deltas)])
    return Spectra(tuple(states), shapes, values)


def some_matrices(base: StateDict) -> dict[str, tuple[int, int]]:
    """`deltas.matrices`, where there are any.

    Raises:
        FusionBenchError: there is none.
    """
    shapes = matrices(base)
    if not shapes:
        raise FusionBenchError(
            "no tensor of the base is a matrix", hint="singular values need one with two rows and two columns at least"
        )
    return shapes


def effective_rank(values: Array) -> float:
    """exp(H), H = −Σ_k p_k ln p_k, p_k = σ_k / Σ_j σ_j: r for r equal singular values, and less where they differ.

    In [1, r] for r singular values above 0; 0 for the zero matrix. It does not change when the matrix is scaled.

    Args:
        values: singular values, not negative, (r,).

    Source: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", EUSIPCO.

    Example:
        >>> round(effective_rank(np.array([2.0, 2.0, 2.0, 0.0])), 12), effective_rank(np.zeros(3))
        (3.0, 0.0)
    """
    total = float(values.sum())
    if not total:
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-np.sum(shares * np.log(shares))))


def stable_rank(values: Array) -> float:
    """‖A‖_F² / ‖A‖₂² = Σ_k σ_k² / σ_1²: how many directions as strong as the strongest hold the energy.

    In [1, r] for r singular values above 0; 0 for the zero matrix. It does not change when the matrix is scaled.

    Args:
        values: singular values, not negative, (r,).

    Source: Rudelson and Vershynin 2007, "Sampling from large matrices", arXiv math/0503442 ("numerical rank" there).

    Example:
        >>> stable_rank(np.array([2.0, 1.0])), stable_rank(np.zeros(3))
        (1.25, 0.0)
    """
    largest = float(values.max(initial=0.0))
    return float(np.sum((values / largest) ** 2)) if largest else 0.0


def energy_rank(values: Array, energy: float) -> int:
    """The fewest singular values whose squares are a share ``energy`` of all squares; 0 for the zero matrix.

    Args:
        values: singular values in descending order, (r,).
        energy: in (0, 1].

    Raises:
        FusionBenchError: an ``energy`` out of range.

    Example:
        >>> energy_rank(np.array([2.0, 1.0, 1.0]), 0.5), energy_rank(np.array([2.0, 1.0, 1.0]), 0.8)
        (1, 2)
    """
    if not 0.0 < energy <= 1.0:
        raise FusionBenchError(f"energy = {energy} is out of range", hint="a share of the squared norm, in (0, 1]")
    if not values.any():
        return 0
    squares = (values / values[0]) ** 2
    kept = np.cumsum(squares)
    # what rounding makes of a sum must not cost a direction more
    return int(np.argmax(kept >= energy * kept[-1] * (1.0 - 1e-12))) + 1
