"""Methods that merge a model's matrices, and average what is not one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.heap import LARGE, MANY, give_back
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.spectral import TaskMatrices, matrix_shape
from fusion_bench.weights.vectors import Vectors


@dataclass(frozen=True, kw_only=True)
class MatrixAlgorithm(TaskVectorAlgorithm):
    """Merges the task vectors' matrices; every other tensor takes their mean. A subclass writes ``matrix`` only.

    Matrices are 2-D weights and, unless ``kernels`` is false, dense convolution kernels; see ``matrix_shape``.
    """

    kernels: bool = True

    @abstractmethod
    def matrix(self, deltas: TaskMatrices) -> Tensor:
        """One merged matrix (m, n)."""

    def whole(self, shape: Sequence[int]) -> bool:
        return matrix_shape(tuple(shape), kernels=self.kernels) is not None

    def held(self, shape: Sequence[int], experts: int) -> int:
        # the directions kept of all, a matrix and a square of the smaller side; beside them
        rows, columns = matrix_shape(tuple(shape), kernels=self.kernels) or (0, 0)
        whole, square = rows * columns, min(rows, columns) ** 2
        if min(rows, columns) >= LARGE:
            # a task vector or a polar factor, a Gram matrix and its eigenvectors; a task's directions once more
            return 2 * whole + 3 * square + 2 * whole // experts
        # a task vector, and where a singular value decomposition is needed: its copy, both sides, LAPACK's four squares
        return 4 * whole + 6 * square

    def prepare(self, scan: Scan) -> Merge:
        count = len(scan.experts)
        mean = Vectors(tuple(range(count)), divisor=count)

        def merge(piece: Piece) -> Tensor:
            if piece.shape is None:
                return mean.total(piece)
            if piece.count >= MANY:
                give_back()
            try:
                return self.matrix(TaskMatrices(piece, kernels=self.kernels))
            except torch.linalg.LinAlgError as error:
                reason = str(error).partition("\n")[0]
                raise FusionBenchError(
                    f"tensor {piece.spans[0].name!r} has no decomposition: {reason}",
                    hint="its task vectors may not be finite: on_non_finite=error says where",
                ) from error

        return merge
