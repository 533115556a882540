"""Sums over tensors that are the same to the bit whatever the chunks and threads."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fusion_bench.weights.kernels import BLOCK
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Scan


def tensor_sums(
    scan: Scan, block_sums: Callable[[Piece], NDArray[np.float64]], stage: str
) -> dict[str, tuple[float, ...]]:
    """For every tensor, the sum of each of several terms over its entries.

    A sum is the exact sum (``math.fsum``) of sums over blocks, so it depends on no order of work.

    Args:
        scan: the model.
        block_sums: of a piece, for every block of every span, the sums of the terms over it: (blocks, terms).
        stage: what the progress bar calls it.
    """

    def look(piece: Piece) -> list[tuple[str, NDArray[np.float64]]]:
        counts = [-(-(stop - start) // BLOCK) for _, start, stop in piece.spans]
        parts = np.split(block_sums(piece), np.cumsum(counts)[:-1])
        return [(span.name, part) for span, part in zip(piece.spans, parts, strict=True)]

    parts: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for piece in scan.map(look, stage):
        for name, sums in piece:
            parts[name].append(sums)
    return {name: tuple(math.fsum(column) for column in np.concatenate(rows).T) for name, rows in parts.items()}
