"""Splits whose examples are arrays of one shape, a column each (pictures, maps of depth), read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_bench.datasets.stored import TRAIN, held_out_parts, is_cut, split_files
from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ArraySplit:
    """One split, read as it is gone through: what is held is a batch, and a few pages of the files.

    Attributes:
        files: its Parquet files, in order.
        rows: which of their rows it has, ascending int64; None for all.
        size: examples.
        columns: of the files.
        name: how messages call it.
    """

    files: tuple[Path, ...]
    rows: np.ndarray | None
    size: int
    columns: tuple[str, ...]
    name: str

    def batches(self, columns: Sequence[str], size: int) -> Iterator[dict[str, np.ndarray]]:
        """Batches of examples by column, ``(b, *shape)`` in the type that is stored, ``b`` = ``size`` but for the last.

        Raises:
            FusionBenchError: a column that is not there or holds no arrays, arrays of several shapes, a damaged file.
        """
        for column in columns:
            if column not in self.columns:
                raise FusionBenchError(
                    f"{self.name} has no column {column!r}", hint=f"its columns are {', '.join(self.columns)}"
                )
        kept: dict[str, np.ndarray] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for found in self._chosen(columns, size):
            for column, array in found.items():
                shape = shapes.setdefault(column, array.shape[1:])
                if array.shape[1:] != shape:
                    raise FusionBenchError(
                        f"{self.name}: column {column!r} holds arrays of the shapes {shape} and {array.shape[1:]}",
                        hint="bring all examples to one size",
                    )
            kept = {c: np.concatenate([kept[c], found[c]]) if kept else found[c] for c in columns}
            while len(kept[columns[0]]) >= size:
                yield {column: array[:size] for column, array in kept.items()}
                kept = {column: array[size:] for column, array in kept.items()}
        if kept and len(kept[columns[0]]):
            yield kept

    def _chosen(self, columns: Sequence[str], size: int) -> Iterator[dict[str, np.ndarray]]:
        """The split's rows of what the files are read in."""
        start = 0
        for part in (part for file in self.files for part in _parts(file, columns, size)):
            rows = np.arange(start, start := start + part.num_rows)
            mine = np.full(len(rows), True) if self.rows is None else np.isin(rows, self.rows, assume_unique=True)
            if mine.any():
                yield {c: as_array(part.column(c), f"{self.name}, {c!r}")[mine] for c in columns}


def _parts(file: Path, columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # else whole column chunks are held, hundreds of MB of pictures
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
            yield from opened.iter_batches(batch_size=size, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file, error) from error


def _damaged(where: Path, error: Exception) -> FusionBenchError:
    return FusionBenchError(f"cannot read {where}: {error}", hint="it is truncated or no Parquet file: fetch it again")


def open_arrays(
    source: str | Path,
    split: str,
    *,
    subset: str | None = None,
    revision: str | None = None,
    held_out: Mapping[str, float] | None = None,
) -> ArraySplit:
    """Open a split by its files' footers.

    Args:
        source: a folder that has ``<split>.parquet``, or the id of a data set on the hub.
        split: its name.
        subset, revision: of a hub data set.
        held_out: shares of the training split that are splits of their own here (see ``held_out_parts``).

    Raises:
        FusionBenchError: no such split, a damaged file, a hub data set that is not here.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    cut = is_cut(split, held_out)
    files = split_files(source, TRAIN if cut else split, subset=subset, revision=revision)
    try:
        footers = [(pq.read_metadata(file), pq.read_schema(file)) for file in files]
    except (OSError, pa.ArrowException) as error:
        raise _damaged(files[0] if len(files) == 1 else files[0].parent, error) from error
    total = sum(footer.num_rows for footer, _ in footers)
    rows = held_out_parts(total, held_out or {})[split] if cut else None
    size = total if rows is None else len(rows)
    return ArraySplit(tuple(files), rows, size, tuple(footers[0][1].names), f"{source} ({split})")


def as_array(column: pa.Array, where: str = "the column") -> np.ndarray:
    """Nested lists of one shape, as Parquet keeps arrays, as a numpy array: ``(rows, *shape)``.

    Args:
        column: lists of lists of numbers, or an extension of them (``Array3D`` of datasets).
        where: how messages call it.

    Raises:
        FusionBenchError: a null, no numbers, or lists of several lengths.

    Example:
        >>> import pyarrow as pa
        >>> as_array(pa.array([[[1, 2, 3], [4, 5, 6]]])).shape
        (1, 2, 3)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Any = column.storage if isinstance(column, pa.ExtensionArray) else column
    shape = [len(found)]
    while pa.types.is_list(found.type) or pa.types.is_large_list(found.type) or pa.types.is_fixed_size_list(found.type):
        lengths = pc.value_counts(pc.list_value_length(found)).field("values").to_pylist()
        if None in lengths or len(lengths) > 1:
            some = "a null" if None in lengths else f"lists of {lengths[0]} and {lengths[1]}"
            raise FusionBenchError(f"{where} holds {some}", hint="every example is one array of the same shape")
        shape.append(lengths[0] if lengths else 0)
        found = found.flatten()
    if found.null_count or not (pa.types.is_integer(found.type) or pa.types.is_floating(found.type)):
        some = "nulls" if found.null_count else f"{found.type}, no numbers"
        raise FusionBenchError(f"{where} holds {some}", hint="every example is one array of numbers")
    return np.asarray(found.to_numpy(zero_copy_only=False)).reshape(shape)
