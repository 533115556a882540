"""One task against one pool's text encoder: examples against the frozen text features of the class names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from fusion_bench.datasets import Manifest, Split, locate, open_split
from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.datasets.splits import stored_sums
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.zero_shot import ZeroShotPool
from fusion_bench.taskpools.base import Batch, TaskAdapter
from fusion_bench.taskpools.zero_shot.classes import check_order


class TaskConfig(BaseModel):
    """One task of the YAML: where its data is, and what its classes are called."""

    model_config = ConfigDict(extra="forbid")
    data: str
    subset: str | None = None
    revision: str | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] = ("a photo of a {}",)
    column: str | tuple[str, ...] | None = None
    label_column: str | tuple[str, ...] = "label"
    splits: dict[str, str] = Field(default_factory=dict)
    held_out: dict[str, float] | None = None
    test_size: int | None = Field(default=None, ge=1)

    @field_validator("templates")
    @classmethod
    def _each_has_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        if not templates or any("{}" not in template for template in templates):
            raise ValueError("every template needs {} where the class name goes")
        return templates


class ZeroShotTask(TaskAdapter):
    """One task against one pool's text encoder; splits and the head are opened when first used, and kept.

    Args:
        task: its name.
        config: of the task pool's YAML.
        pool: whose models are compared with the class names.
        manifest: of the task pool's files, where it has one.
        batch: examples a step.
    """

    column: ClassVar[str]

    def __init__(
        self, task: str, config: TaskConfig, pool: ZeroShotPool, *, manifest: Manifest | None, batch: int
    ) -> None:
        self.task, self._config, self._pool = task, config, pool
        self._manifest, self._batch = manifest, batch
        self._splits: dict[str, Split] = {}
        self._hashes: dict[str, str] = {}
        self._head: Tensor | None = None

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

    @property
    def head(self) -> Tensor:
        """Unit directions of the classes, ``(classes, d)``: means over templates of text features, made unit."""
        if self._head is None:
            parts = [
                F.normalize(self._pool.text_features([t.format(c) for c in self.classes]), dim=-1)
                for t in self._config.templates
            ]
            self._head = F.normalize(torch.stack(parts).mean(dim=0), dim=-1)
        return self._head

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        features = F.normalize(model(batch).float(), dim=-1)
        return self._pool.logit_scale * features @ self.head.to(features.device).T

    def data_hash(self, split: str) -> str:
        if split not in self._hashes:
            if self._manifest is not None:
                file = self._manifest.sum(f"{self.task}/{self._file(split)}")
            else:
                file = self._unlisted(split)
            held = [] if self._config.held_out is None else [self._config.held_out]
            text = json.dumps([file, self._config.classes, self._config.templates, *held])
            self._hashes[split] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[split]

    def _unlisted(self, split: str) -> str:
        """Of data that no manifest describes."""
        if Path(self._config.data).is_dir():
            return file_sha256(self._path(split))
        sums = stored_sums(self._config.data, subset=self._config.subset, revision=self._config.revision)
        if sums is None:
            return str(self._split(split).data._fingerprint)
        return json.dumps([split, self._config.splits.get(split, split), *sums])

    def _file(self, split: str) -> str:
        return f"{self._config.splits.get(split, split)}.parquet"

    def _path(self, split: str) -> Path:
        return locate(self._config.data) / self._file(split)

    def _split(self, split: str) -> Split:
        if split not in self._splits:
            if self._manifest is not None:
                self._manifest.path(f"{self.task}/{self._file(split)}")  # verified before it is opened
            source = locate(self._config.data)
            opened = open_split(
                source if source.is_dir() else self._config.data,
                self._config.splits.get(split, split),
                subset=self._config.subset,
                revision=self._config.revision,
                column=self._config.column or self.column,
                label_column=self._config.label_column,
                held_out=self._config.held_out,
            )
            self._check(split, opened)
            self._splits[split] = opened
        return self._splits[split]

    def _check(self, split: str, opened: Split) -> None:
        """Refuse data that is not what the YAML was written for."""
        if opened.classes is not None and self._config.classes is not None:
            check_order(self._config.classes, opened.classes, task=self.task, data=self._config.data)
        expected = self._config.test_size
        if split == "test" and expected is not None and opened.size != expected:
            raise FusionBenchError(
                f"{self._config.data} has {opened.size:,} test examples, {self.task!r} was written for {expected:,}",
                hint="pin the revision that has them, or change test_size if the data set was mended",
            )
