"""Where the splits of a data set lie: in a folder or the hub's cache, under which names, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusion_bench.datasets.digests import content_sum
from fusion_bench.datasets.manifest import file_sha256, locate
from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from fusion_bench.hub import Source

TRAIN, ADAPTATION = "train", "adaptation"
SPLITS = (TRAIN, "validation", ADAPTATION, "test")


def stored_split(
    split: str, names: Mapping[str, str], held_out: Mapping[str, float] | None
) -> tuple[str, Mapping[str, float] | None]:
    """What the data calls a split, and the shares where it is cut out of the training split.

    A test split may lie under the name of one that is held out: ``validation`` is GLUE's and Food-101's test split.

    Args:
        split: as it is called here.
        names: of splits, to what the data calls them.
        held_out: see ``open_split``.

    Example:
        >>> stored_split("test", {"test": "validation"}, {"validation": 0.1})
        ('validation', None)
        >>> stored_split("validation", {"test": "validation"}, {"validation": 0.1})
        ('validation', {'validation': 0.1})
    """
    if is_cut(split, held_out):
        return split, held_out
    return names.get(split, split), None


def is_cut(split: str, held_out: Mapping[str, float] | None) -> bool:
    """Whether a split is a part of the stored training split: one that is held out of it, or what that leaves.

    Example:
        >>> is_cut("train", {"validation": 0.1}), is_cut("test", {"validation": 0.1}), is_cut("train", None)
        (True, False, False)
    """
    return held_out is not None and (split in held_out or split == TRAIN)


def check_test_size(split: str, size: int, expected: int | None, *, task: str, data: str) -> None:
    """Refuse a test split of another size than a task was written for, where that is said.

    Raises:
        FusionBenchError: it has more or fewer examples.
    """
    if split == "test" and expected is not None and size != expected:
        raise FusionBenchError(
            f"{data} has {size:,} test examples, {task!r} was written for {expected:,}",
            hint="pin the revision that has them, or change test_size if the data set was mended",
        )


def held_out_parts(size: int, shares: Mapping[str, float], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Which examples of a training split are held out, and which are left, drawn without replacement.

    Args:
        size: examples of the split.
        shares: of each part, in (0, 1), together below 1. Its name decides nothing; the order of the parts does.
        seed: of the drawing.

    Returns:
        Ascending indices of each part, and of what is left, under ``train``.

    Raises:
        FusionBenchError: shares out of range, or a part that would be empty.

    Example:
        >>> {name: len(part) for name, part in held_out_parts(100, {"validation": 0.1, "adaptation": 0.05}).items()}
        {'validation': 10, 'adaptation': 5, 'train': 85}
    """
    if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise FusionBenchError(f"held_out is {dict(shares)}", hint="give shares between 0 and 1, together below 1")
    order, start, parts = np.random.default_rng(seed).permutation(size), 0, {}
    for name, share in shares.items():
        stop = start + round(share * size)
        if stop == start:
            raise FusionBenchError(f"a share of {share} of {size} training examples is none", hint="hold out more")
        parts[name], start = np.sort(order[start:stop]), stop
    return {**parts, TRAIN: np.sort(order[start:])}


def split_files(
    source: str | Path, split: str, *, subset: str | None = None, revision: str | None = None
) -> list[Path]:
    """The Parquet files of a split, as the data calls it.

    Args:
        source: a folder that has ``<split>.parquet``, or the id of a data set on the hub.
        split, subset, revision: see ``open_split``.

    Raises:
        FusionBenchError: no such split, or a hub data set that is not here.
    """
    folder = Path(source)
    return [_in_folder(folder, split)] if folder.is_dir() else _of_hub(str(source), split, subset, revision)


def _in_folder(folder: Path, split: str) -> Path:
    path = folder / f"{split}.parquet"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.parquet"))
        raise FusionBenchError(f"no split file {path}", hint=f"the folder has: {', '.join(there) or 'none'}")
    return path


def _of_hub(name: str, split: str, subset: str | None, revision: str | None) -> list[Path]:
    from fusion_bench.hub import local, missing
    from fusion_bench.hub.files import of_split

    source = _source(name, subset, revision)
    folder = local(source)
    if folder is None:
        raise FusionBenchError(
            f"data set {source.label} ({split}) is not here: {missing(source)}",
            hint="fusion_bench pools fetch, with the task pool's name, on a machine with network",
        )
    files = of_split(folder, split, subset)
    if not files:
        raise FusionBenchError(f"data set {source.label} has no split {split!r}", hint=f"it lies in {folder}")
    return files


def stored_sums(source: str, *, subset: str | None = None, revision: str | None = None) -> list[str] | None:
    """Digests of the files that a data set of the hub lies in here; None where it is not here.

    Raises:
        FusionBenchError: none of its files is of the subset.
    """
    from fusion_bench.hub import local
    from fusion_bench.hub.files import card_configs, wanted

    found = _source(source, subset, revision)
    folder = local(found)
    if folder is None:
        return None
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    chosen = wanted(names, found, card_configs(folder / "README.md"))
    if not chosen:
        raise FusionBenchError(f"data set {found.label} has no Parquet file", hint=f"it lies in {folder}")
    return [content_sum(folder / name) for name in chosen]


class Data(NamedTuple):
    """Where the data of a task is, as ``open_split`` takes it."""

    source: str
    subset: str | None = None
    revision: str | None = None


def files_of(data: Data) -> dict[str, str] | None:
    """Digests of all files of a folder or of a data set of the hub, by name or number; None where it is not here."""
    folder = locate(data.source)
    if folder.is_dir():
        return {path.name: file_sha256(path) for path in sorted(folder.glob("*.parquet"))} or None
    sums = stored_sums(data.source, subset=data.subset, revision=data.revision)
    return None if sums is None else {str(number): one for number, one in enumerate(sums)}


def _source(name: str, subset: str | None, revision: str | None) -> Source:
    from fusion_bench.hub import Source

    fields = {"id": name, "revision": revision, "subset": subset}
    given = {key: value for key, value in fields.items() if value is not None}
    return Source.parse(given, kind="dataset", where=f"data {name!r}")
