"""Iso-C: isotropic merging in the common subspace."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.matrices import MatrixAlgorithm
from fusion_bench.algorithms.options import Scaling, made
from fusion_bench.weights.checkpoint import Factors
from fusion_bench.weights.polar import polar
from fusion_bench.weights.spectral import Matrix, TaskMatrices, leading_singular_vectors
from fusion_bench.weights.state_dict import Experts, StateDict


def iso_c(
    base: StateDict, experts: Experts | Sequence[StateDict], *, scaling: float = 1.0, kernels: bool = True
) -> dict[str, Tensor]:
    """Merge the sum of the task vectors' matrices with all its singular values set to their mean.

    For a matrix (m, n), Σᵢ Δᵢ = U S Vᵀ becomes M = mean(S) · U Vᵀ; θ = θ₀ + λ M. Since Q = U Vᵀ is the polar factor of
    the sum and mean(S) = ⟨Q, Σᵢ Δᵢ⟩ / rank, no singular value decomposition is needed where it is well conditioned.
    A sum of lower rank is made isotropic on the directions it has, with the mean of its non-zero singular values.

    Every other tensor takes λ times the mean of the task vectors; what counts as a matrix is said in ``tsv_m``.

    Args:
        base: θ₀.
        experts: θᵢ.
        scaling: λ, any finite number.
        kernels: treat dense convolution kernels as matrices (out, in·k·k); the authors' code averages them.

    Source: Marczak et al. 2025, "No task left behind", arXiv 2502.04959.

    Example:
        >>> import torch
        >>> base, expert = {"w": torch.zeros(2, 2)}, {"w": torch.tensor([[3.0, 0.0], [0.0, -1.0]])}
        >>> (iso_c(base, [expert])["w"] + 0.0).tolist()
        [[2.0, 0.0], [0.0, -2.0]]
    """
    return made(IsoC, scaling=scaling, kernels=kernels).merge(base, experts)


def flatten_spectrum(matrix: Matrix, *, coarse: bool = False, overwrite: bool = False) -> Tensor:
    """The matrix (m, n), or a product of factors, with every non-zero singular value replaced by their mean.

    Args:
        matrix: ``float64``.
        coarse, overwrite: see ``polar``.

    Example:
        >>> import torch
        >>> flatten_spectrum(torch.diag(torch.tensor([4.0, 2.0]).double())).round(decimals=9).tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """
    if isinstance(matrix, Factors):
        found = leading_singular_vectors(matrix, matrix.left.shape[1])
        return (found.left @ found.right.T).mul_(float(found.values.sum()) / max(len(found.values), 1))
    factor, rank, norm, _ = polar(matrix, coarse=coarse, overwrite=overwrite)
    return factor.mul_(norm / max(rank, 1))


@dataclass(frozen=True, kw_only=True)
class IsoC(MatrixAlgorithm):
    """The summed task vectors with a flat spectrum. See :func:`iso_c`."""

    scaling: Scaling = 1.0

    def matrix(self, deltas: TaskMatrices) -> Tensor:
        return flatten_spectrum(deltas.total(), coarse=deltas.coarse, overwrite=True)
