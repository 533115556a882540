"""Sums over tensors that are the same to the bit whatever the chunks and threads, and their way back to entries."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.weights.checkpoint import laid_out
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.plan import BLOCK
from fusion_bench.weights.rule import Scan


def tensor_sums(scan: Scan, terms: Callable[[Piece], Sequence[Tensor]], stage: str) -> dict[str, tuple[float, ...]]:
    """For every tensor, the sum of each of several terms over its entries.

    A sum is the exact sum (``math.fsum``) of sums over blocks, so it depends on no order of work.

    Args:
        scan: the model.
        terms: one value per entry of a piece, for each term.
        stage: what the progress bar calls it.
    """

    def look(piece: Piece) -> list[tuple[str, list[NDArray[np.float64]]]]:
        values = [term.cpu().numpy() for term in terms(piece)]
        return [(span.name, [_blocks(value[at:end]) for value in values]) for span, at, end in laid_out(piece.spans)]

    parts: dict[str, list[list[NDArray[np.float64]]]] = defaultdict(list)
    for piece in scan.map(look, stage):
        for name, sums in piece:
            parts[name].append(sums)
    return {
        name: tuple(math.fsum(x for part in column for x in part) for column in zip(*rows, strict=True))
        for name, rows in parts.items()
    }


def per_entry(piece: Piece, values: Mapping[str, float], device: torch.device) -> Tensor | float:
    """A value per tensor as a factor for the entries of a piece."""
    if len(piece.spans) == 1:
        return values[piece.spans[0].name]
    counts = torch.tensor([stop - start for _, start, stop in piece.spans], device=device)
    own = torch.tensor([values[name] for name, _, _ in piece.spans], dtype=torch.float64, device=device)
    return own.repeat_interleave(counts)


def _blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = len(values) // BLOCK * BLOCK
    sums = values[:whole].reshape(-1, BLOCK).sum(axis=1)
    return np.append(sums, values[whole:].sum()) if whole < len(values) else sums
