"""Splits of labelled images: Parquet files with embedded pictures, or data sets of the hub."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "adaptation", "test")


@dataclass(frozen=True)
class Split:
    """One split: how many examples, their labels, and how to get at the pictures.

    ``labels`` int64 ``(n,)`` (None where unlabelled), ``clusters`` strings ``(n,)`` (None where not given), ``classes``
    the names in label order where the data knows them. ``data`` holds the pictures undecoded.
    """

    size: int
    labels: np.ndarray | None
    clusters: np.ndarray | None
    classes: tuple[str, ...] | None
    data: Dataset
    image_column: str

    def picture(self, index: int) -> Any:
        """Picture ``index`` as a PIL image."""
        return self.data[index][self.image_column]


def open_split(
    source: str | Path,
    split: str,
    *,
    subset: str | None = None,
    image_column: str = "image",
    label_column: str = "label",
) -> Split:
    """Open a split without decoding a picture.

    Args:
        source: a folder that has ``<split>.parquet``, or the id of a data set on the hub.
        split: its name.
        subset: the configuration of a hub data set that has several.

    Raises:
        FusionBenchError: a file that is no Parquet, a missing column, or a hub data set that is neither in the local
            cache nor can be fetched.
    """
    folder = Path(source)
    data = _from_parquet(folder / f"{split}.parquet") if folder.is_dir() else _from_hub(str(source), split, subset)
    if image_column not in data.column_names:
        raise FusionBenchError(
            f"{source} ({split}) has no column {image_column!r}", hint=f"its columns are {', '.join(data.column_names)}"
        )
    labelled = label_column in data.column_names
    feature = data.features.get(label_column)
    names = getattr(feature, "names", None)
    clusters = data.with_format("numpy", columns=["cluster"])["cluster"] if "cluster" in data.column_names else None
    labels = data.with_format("numpy", columns=[label_column])[label_column] if labelled else None
    return Split(
        size=len(data),
        labels=None if labels is None else np.asarray(labels[:], dtype=np.int64),
        clusters=None if clusters is None else np.asarray(clusters[:], dtype=str),
        classes=tuple(names) if names else None,
        data=data,
        image_column=image_column,
    )


def decode(split: Split, transform: Callable[[Any], np.ndarray], out: np.ndarray) -> None:
    """Decode every picture through ``transform`` into the rows of ``out``."""
    from datasets import Image as ImageFeature
    from PIL import Image

    # the bytes as they are stored: the library's own decoding, row by row, takes three times as long
    stored = split.data.cast_column(split.image_column, ImageFeature(decode=False)).with_format("arrow")
    index = 0
    for batch in stored.iter(batch_size=512):
        for cell in batch[split.image_column].to_pylist():
            with Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]) as picture:
                out[index] = transform(picture)
            index += 1


def _from_parquet(path: Path) -> Dataset:
    import pyarrow.parquet as pq
    from datasets import Dataset

    if not path.is_file():
        there = sorted(p.stem for p in path.parent.glob("*.parquet"))
        raise FusionBenchError(f"no split file {path}", hint=f"the folder has: {', '.join(there) or 'none'}")
    try:
        # read here rather than through load_dataset, which would copy every file into a cache of its own
        return Dataset(pq.read_table(path))
    except (OSError, ValueError) as error:
        raise FusionBenchError(f"cannot read {path}: {error}", hint="it is truncated or no Parquet file") from error


def _from_hub(name: str, split: str, subset: str | None) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(name, subset, split=split)
    except Exception as error:  # the hub's clients raise many kinds; each of them means "not here"
        raise FusionBenchError(
            f"data set {name!r} ({split}) is neither a local folder, nor cached, nor can it be fetched: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            hint=f"on a machine with network: python -c \"import datasets; datasets.load_dataset('{name}')\"",
        ) from error
