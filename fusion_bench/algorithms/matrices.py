"""Methods that merge a model's matrices, and average what is not one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
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

    def prepare(self, scan: Scan) -> Merge:
        count = len(scan.experts)
        mean = Vectors(tuple(range(count)), divisor=count)

        def merge(piece: Piece) -> Tensor:
            if piece.shape is None:
                return mean.total(piece)
            return self.matrix(TaskMatrices(piece, kernels=self.kernels))

        return merge
