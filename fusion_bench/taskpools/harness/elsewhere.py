"""A task of the harness that reads its data from a local copy: fetched, pinned, and opened without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, local, missing
from fusion_bench.hub.files import of_split
from fusion_bench.taskpools.harness.options import HarnessTaskConfig


def redirected(config: HarnessTaskConfig, settings: Mapping[str, Any], file: Path, *, where: str) -> str:
    """The text of a YAML file, in the harness' own language, that is a task with its data elsewhere.

    The Parquet files of the splits that the task reads are given one by one: what is fetched of a data set with several
    configurations is the one that is needed, and its card names files of the others. Some tasks name splits beside
    those, under names that their data has not: they are not looked for.

    Args:
        config: with ``data``.
        settings: what the harness knows of the task.
        file: where that is written.
        where: what messages call the task.

    Raises:
        FusionBenchError: data that is not here, without a split that the task reads, or of a task that brings its own
            way to it.
    """
    fields = {"id": config.data, "revision": config.revision, "subset": config.subset}
    given = {key: value for key, value in fields.items() if value is not None}
    source = Source.parse(given, kind="dataset", where=f"{where}: data")
    if "class" in settings or "custom_dataset" in settings:
        raise FusionBenchError(f"{where} gets its data by code of its own", hint="leave data out")
    folder = local(source)
    if folder is None:
        raise FusionBenchError(
            f"{where}: data set {source.label} is not here: {missing(source)}",
            hint="fusion_bench pools fetch, with the task pool's name, on a machine with network",
        )
    subset = config.subset or settings.get("dataset_name")
    files = {split: of_split(folder, split, subset) for split in dict.fromkeys(_read(settings))}
    for split, found in files.items():
        if not found:
            raise FusionBenchError(
                f"{where}: data set {source.label} has no Parquet file of the split {split!r}",
                hint=f"it is in {folder}",
            )
    changed = {
        "include": str(file),
        "task": config.task,
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: [str(p.absolute()) for p in found] for split, found in files.items()}},
    }
    return yaml.safe_dump(changed)


def _read(settings: Mapping[str, Any]) -> list[str]:
    """The splits that the harness reads of a task: what it evaluates, and what examples in prompts are from."""
    evaluated = settings.get("test_split") or settings.get("validation_split")
    shots = settings.get("fewshot_config")
    shots = shots if isinstance(shots, Mapping) else {}
    shown = shots.get("split") or settings.get("fewshot_split")
    if not shown and shots.get("samples") is None:
        shown = settings.get("training_split") or settings.get("validation_split")
    return [str(split) for split in (evaluated, shown) if split]
