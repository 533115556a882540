"""Splits of labelled examples: Parquet files with texts or embedded pictures, or data sets of the hub."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_bench.datasets.stored import ADAPTATION, TRAIN, held_out_parts, is_cut, split_files
from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Split:
    """One split: how many examples, their labels, and how to get at the pictures or texts.

    ``labels`` int64 ``(n,)`` (None where unlabelled), ``clusters`` strings ``(n,)`` (None where not given), ``classes``
    the names in label order where the data knows them. ``data`` holds the pictures undecoded, in ``column``; ``name``
    is what errors call it.
    """

    size: int
    labels: np.ndarray | None
    clusters: np.ndarray | None
    classes: tuple[str, ...] | None
    data: Dataset
    column: str
    name: str = "the data"

    def picture(self, index: int) -> Any:
        """Picture ``index`` as a PIL image."""
        return self.data[index][self.column]

    def texts(self) -> list[str]:
        """All texts."""
        found = self.data[self.column][:]
        wrong = next((text for text in found if not isinstance(text, str)), None)
        if wrong is not None:
            raise FusionBenchError(f"column {self.column!r} holds a {type(wrong).__name__}, not only texts")
        return found


def open_split(
    source: str | Path,
    split: str,
    *,
    subset: str | None = None,
    revision: str | None = None,
    column: str | Sequence[str] = "image",
    label_column: str | Sequence[str] = "label",
    held_out: Mapping[str, float] | None = None,
) -> Split:
    """Open a split without decoding a picture.

    Args:
        source: a folder that has ``<split>.parquet``, or the id of a data set on the hub, ``owner/name@revision`` too.
        split: its name.
        subset: the configuration of a hub data set that has several.
        revision: of a hub data set.
        column: of the pictures or texts; of several names the first that is there.
        label_column: of the labels, likewise; of no name, none are read.
        held_out: shares of the training split that are splits of their own here (see ``held_out_parts``); None where
            the data has all splits. One named ``adaptation`` comes without labels.

    Raises:
        FusionBenchError: a file that is no Parquet, a missing column, labels that are no whole numbers, or a hub data
            set that is not here.
    """
    cut = is_cut(split, held_out)
    stored = TRAIN if cut else split
    data = _read(split_files(source, stored, subset=subset, revision=revision))
    column, label_column = _present(column, data), _present(label_column or "", data)
    if cut:
        data = data.select(held_out_parts(len(data), held_out or {})[split])
        if split == ADAPTATION and label_column in data.column_names:
            data = data.remove_columns(label_column)
    if column not in data.column_names:
        raise FusionBenchError(
            f"{source} ({split}) has no column {column!r}", hint=f"its columns are {', '.join(data.column_names)}"
        )
    labelled = label_column in data.column_names
    feature = data.features.get(label_column)
    names = getattr(feature, "names", None)
    clusters = data.with_format("numpy", columns=["cluster"])["cluster"] if "cluster" in data.column_names else None
    return Split(
        size=len(data),
        labels=_labels(data, label_column, f"{source} ({split})") if labelled else None,
        clusters=None if clusters is None else np.asarray(clusters[:], dtype=str),
        classes=tuple(names) if names else None,
        data=data,
        column=column,
        name=f"{source} ({split})",
    )


def _labels(data: Dataset, column: str, where: str) -> np.ndarray | None:
    """Labels as int64 ``(n,)``; None where every one is null."""
    found = data.select_columns(column).with_format("arrow")[:].column(column)
    if len(found) and found.null_count == len(found):
        return None
    hint = f"number the classes from 0, in the order of classes, or name another label_column: {data.column_names}"
    if found.null_count:
        raise FusionBenchError(
            f"{where}: {found.null_count:,} of {len(found):,} labels in column {column!r} ({found.type}) are null",
            hint=f"leave these examples out; {hint}",
        )
    values = found.to_numpy()
    if values.dtype.kind not in "iub" and not (values.dtype.kind == "f" and (values % 1 == 0).all()):
        raise FusionBenchError(f"{where}: column {column!r} holds {found.type}, no whole numbers as labels", hint=hint)
    return values.astype(np.int64)


def _present(names: str | Sequence[str], data: Dataset) -> str:
    several = [names] if isinstance(names, str) else list(names)
    return next((name for name in several if name in data.column_names), several[0])


def decode(split: Split, transform: Callable[[Any], np.ndarray], out: np.ndarray) -> None:
    """Decode every picture through ``transform`` into the rows of ``out``.

    Raises:
        FusionBenchError: a picture that is missing or damaged.
    """
    from datasets import Image as ImageFeature
    from PIL import Image, UnidentifiedImageError

    # the bytes as they are stored: the library's own decoding, row by row, takes three times as long
    stored = split.data.cast_column(split.column, ImageFeature(decode=False)).with_format("arrow")
    index = 0
    for batch in stored.iter(batch_size=512):
        for cell in batch[split.column].to_pylist():
            try:
                if cell is None:
                    raise ValueError("it is null")
                with Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]) as picture:
                    pixels = transform(picture)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all of them are PIL's
                reason = "its bytes are no picture" if isinstance(error, UnidentifiedImageError) else error
                raise FusionBenchError(
                    f"{split.name}: the picture in row {index} (counted from 0) cannot be read: {reason}",
                    hint="fetch the data again, or leave that row out",
                ) from error
            out[index] = pixels
            index += 1


def _read(files: Sequence[Path]) -> Dataset:
    import pyarrow.parquet as pq
    from datasets import Dataset, concatenate_datasets

    try:
        # read here rather than through load_dataset, which would copy every file into a cache of its own
        parts = [Dataset(pq.read_table(file)) for file in files]
    except (OSError, ValueError) as error:
        where = files[0] if len(files) == 1 else files[0].parent
        raise FusionBenchError(f"cannot read {where}: {error}", hint="it is truncated or no Parquet file") from error
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)
