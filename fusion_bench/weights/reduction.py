"""Sums over tensors that are the same to the bit whatever the chunks and threads."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fusion_bench.weights.compiled.terms import BLOCK
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

    parts: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    missing = {name: -(-spec.numel // BLOCK) for name, spec in scan.specs.items()}
    sums: dict[str, tuple[float, ...]] = {}
    lock = threading.Lock()

    def look(piece: Piece) -> None:
        counts = [-(-(stop - start) // BLOCK) for _, start, stop in piece.spans]
        found = np.split(block_sums(piece), np.cumsum(counts)[:-1])
        with lock:
            for span, part in zip(piece.spans, found, strict=True):
                parts[span.name].append(part)
                missing[span.name] -= len(part)
                if not missing[span.name]:  # summed up at once: all blocks of a large model are a lot
                    columns = np.concatenate(parts.pop(span.name)).T
                    sums[span.name] = tuple(math.fsum(column) for column in columns)

    scan.map(look, stage)
    return sums
