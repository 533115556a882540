"""One place of many models, a row of memory each, read in as few calls as it takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.compiled.fetch import fetch, widen
from fusion_bench.weights.file_checkpoint import FileCheckpoint
from fusion_bench.weights.halves import HALVES
from fusion_bench.weights.spans import Span, runs


def fill_rows(
    models: Sequence[Checkpoint], spans: Sequence[Span], rows: NDArray[np.floating], buffer: threading.local | None
) -> None:
    """Write the models' entries to the rows, as the rows' type; what plain files hold in one type is read in one go.

    NumPy alone has a hand in it where it can: torch gives Python's lock away at every step, see ``fetch``.

    Args:
        models: whose entries.
        spans: of tensors of one type a model.
        rows: (models, entries), ``float32`` or ``float64``.
        buffer: a thread's own memory for entries of 16 bits, used again by the next call; None takes new memory.
    """
    name, dtype = spans[0].name, torch.float64 if rows.dtype == np.float64 else torch.float32
    plain: dict[torch.dtype, list[int]] = {}
    for number, model in enumerate(models):
        kind = model.specs[name].dtype
        if isinstance(model, FileCheckpoint) and (kind == dtype or (kind in HALVES and dtype == torch.float32)):
            plain.setdefault(kind, []).append(number)
        else:
            model.fill(spans, torch.from_numpy(rows[number]))
    for kind, numbers in plain.items():
        files = [models[number] for number in numbers]
        if kind == dtype:
            _fetch(files, spans, [rows[number].view(np.uint8) for number in numbers])
            continue
        halves = _scratch(buffer, len(numbers), rows.shape[1])
        _fetch(files, spans, [row.view(np.uint8) for row in halves])
        for number, half in zip(numbers, halves, strict=True):
            if kind == torch.bfloat16:
                widen(half, rows[number])
            else:
                torch.from_numpy(rows[number]).copy_(torch.from_numpy(half.view(np.float16)))


def _fetch(models: Sequence[Checkpoint], spans: Sequence[Span], rows: Sequence[NDArray[np.uint8]]) -> None:
    """The bytes of several files' entries, each to its row."""
    layouts: dict[int, list[tuple[int, int, int]]] = {}
    stretches, places = [], []
    for model, row in zip(models, rows, strict=True):
        assert isinstance(model, FileCheckpoint)
        if id(model.places) not in layouts:
            layouts[id(model.places)] = runs(spans, model.places, model.specs[spans[0].name].dtype.itemsize)
        at = row.ctypes.data
        for stretch in model.stretches(layouts[id(model.places)]):
            stretches.append(stretch)
            places.append(at)
            at += stretch.end - stretch.begin
    seconds = fetch(stretches, places)
    for model, row in zip(models, rows, strict=True):
        assert isinstance(model, FileCheckpoint)
        if seconds is None:  # Python's own functions say why
            model.read(spans, row.data.cast("B"))
        else:
            model.traffic.add(row.size, seconds / len(models))


def _scratch(buffer: threading.local | None, rows: int, columns: int) -> NDArray[np.uint16]:
    """The thread's memory for entries of 16 bits."""
    size = rows * columns
    if buffer is None:
        return np.empty((rows, columns), dtype=np.uint16)
    if getattr(buffer, "halves", None) is None or buffer.halves.size < size:
        buffer.halves = np.empty(size, dtype=np.uint16)
    found: NDArray[np.uint16] = buffer.halves[:size].reshape(rows, columns)
    return found
