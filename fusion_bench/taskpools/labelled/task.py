"""One task with labels: its splits, opened and checked when they are first used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fusion_bench.datasets import Manifest, Split, locate, open_split
from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.datasets.stored import TRAIN, check_test_size, stored_split, stored_sums
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.labelled.classes import check_order
from fusion_bench.taskpools.labelled.config import TaskConfig


class LabelledTask(TaskAdapter):
    """One task whose examples have a class each; splits are opened when first used, and kept.

    Args:
        task: its name.
        config: of the task pool's YAML.
        pool: whose models are evaluated.
        manifest: of the task pool's files, where it has one.
        batch: examples a step.
    """

    column: ClassVar[str]
    _pool: ModelPool

    def __init__(self, task: str, config: TaskConfig, pool: Any, *, manifest: Manifest | None, batch: int) -> None:
        self.task, self._config, self._pool = task, config, pool
        self._manifest, self._batch = manifest, batch
        self._splits: dict[str, Split] = {}
        self._hashes: dict[str, str] = {}

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        if self._config.classes is not None:
            return self._config.classes
        classes = self._split("test").classes
        if classes is None:
            raise FusionBenchError(f"the classes of {self.task!r} are not named", hint="add classes: [...] to the YAML")
        return classes

    def size(self, split: str) -> int:
        return self._split(split).size

    def labels(self, split: str) -> Tensor:
        labels = self._split(split).labels
        if labels is None:
            raise FusionBenchError(
                f"split {split!r} of {self.task} has no labels", hint="use train, validation or test"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise FusionBenchError(
                f"labels of {self.task} ({split}) run from {labels.min()} to {labels.max()}, "
                f"it has {len(self.classes)} classes"
            )
        return torch.from_numpy(labels)

    def clusters(self, split: str) -> np.ndarray | None:
        return self._split(split).clusters

    def _checked(self, split: str, index: int) -> int:
        size = self.size(split)
        if not 0 <= index < size:
            raise FusionBenchError(
                f"{self.task} ({split}) has no example {index}", hint=f"it has {size:,}, counted from 0"
            )
        return int(index)

    def data_hash(self, split: str) -> str:
        if split not in self._hashes:
            if self._manifest is not None:
                file = self._manifest.sum(f"{self.task}/{self._file(split)}")
            else:
                file = self._unlisted(split)
            held = [] if self._config.held_out is None else [self._config.held_out]
            text = json.dumps([file, self._config.classes, self._config.templates, *held, *self._columns()])
            self._hashes[split] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[split]

    def _columns(self) -> list[dict[str, Any]]:
        """The columns that the YAML names; none where it names none, so that hashes without them stay."""
        read = {"column": self._config.column or self.column, "label_column": self._config.label_column}
        named = {key: value for key, value in read.items() if key in self._config.model_fields_set}
        return [named] if named else []

    def _unlisted(self, split: str) -> str:
        """Of data that no manifest describes."""
        name, held = self._stored(split)
        if Path(self._config.data).is_dir():
            found = file_sha256(locate(self._config.data) / f"{TRAIN if held else name}.parquet")
            return json.dumps([split, found]) if held else found
        sums = stored_sums(self._config.data, subset=self._config.subset, revision=self._config.revision)
        if sums is None:
            return str(self._split(split).data._fingerprint)
        return json.dumps([split, name, *sums])

    def _stored(self, split: str) -> tuple[str, Mapping[str, float] | None]:
        return stored_split(split, self._config.splits, self._config.held_out)

    def _file(self, split: str) -> str:
        return f"{self._stored(split)[0]}.parquet"

    def _split(self, split: str) -> Split:
        if split not in self._splits:
            if self._manifest is not None:
                self._manifest.path(f"{self.task}/{self._file(split)}")  # verified before it is opened
            source = locate(self._config.data)
            name, held = self._stored(split)
            opened = open_split(
                source if source.is_dir() else self._config.data,
                name,
                subset=self._config.subset,
                revision=self._config.revision,
                column=self._config.column or self.column,
                label_column=self._config.label_column,
                held_out=held,
            )
            self._check(split, opened)
            self._splits[split] = opened
        return self._splits[split]

    def _check(self, split: str, opened: Split) -> None:
        """Refuse data that is not what the YAML was written for."""
        if opened.classes is not None and self._config.classes is not None:
            check_order(self._config.classes, opened.classes, task=self.task, data=self._config.data)
        check_test_size(split, opened.size, self._config.test_size, task=self.task, data=self._config.data)
