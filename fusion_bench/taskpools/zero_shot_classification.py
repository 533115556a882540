"""Zero-shot image classification: images against the frozen text features of the class names, as CLIP does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from fusion_bench.datasets import ImageCache, Manifest, Split, locate, open_split
from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.datasets.splits import decode
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter, TaskPool

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 128  # measured on two cores: a quarter faster than 256, whose activations leave the cache


class TaskConfig(BaseModel):
    """One task of the YAML: where its data is, and what its classes are called."""

    model_config = ConfigDict(extra="forbid")
    data: str
    subset: str | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] = ("a photo of a {}",)
    image_column: str = "image"
    label_column: str = "label"
    splits: dict[str, str] = Field(default_factory=dict)

    @field_validator("templates")
    @classmethod
    def _each_has_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        if not templates or any("{}" not in template for template in templates):
            raise ValueError("every template needs {} where the class name goes")
        return templates


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: list[str] | dict[str, TaskConfig]
    path: str | None = None
    batch_size: int = Field(default=BATCH, ge=1)


class ZeroShotClassification(TaskPool):
    """Tasks whose classes are named in words.

    Args:
        name: of the pool.
        tasks: names of task folders below ``path`` (each has ``task.json`` and ``<split>.parquet``, listed in the
            manifest of ``path``), or a mapping of names to ``data`` (a folder or a hub id), ``classes``, ``templates``.
        path: the folder of the tasks, or ``package://mini8``.
        batch_size: images a step; results do not depend on what else runs, but may in the last bit on this number.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        path: str | None = None,
        batch_size: int = BATCH,
    ) -> None:
        options = _Options(name=name, tasks=tasks, path=path, batch_size=batch_size)
        self.name, self._batch = options.name, options.batch_size
        self._manifest: Manifest | None = None
        if isinstance(options.tasks, dict):
            self._configs = options.tasks
        else:
            if options.path is None:
                raise FusionBenchError(f"task pool {name!r} names tasks but no path", hint="add path: …")
            self._manifest = Manifest.read(options.path)
            self._configs = {task: self._read_task(task) for task in options.tasks}
        if not self._configs:
            raise FusionBenchError(f"task pool {name!r} has no task")
        self.tasks = tuple(self._configs)

    def _read_task(self, task: str) -> TaskConfig:
        manifest = self._manifest
        if manifest is None:  # pragma: no cover - the constructor reads it first
            raise FusionBenchError("no manifest")
        known = sorted({name.split("/")[0] for name in manifest.files if name.endswith("/task.json")})
        if task not in known:
            raise unknown_name("task", task, known, where=str(manifest.folder))
        record = json.loads(manifest.path(f"{task}/task.json").read_text(encoding="utf-8"))
        return TaskConfig(data=str(manifest.folder / task), classes=record["classes"], templates=record["templates"])

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        cache = ImageCache()
        return {t: ZeroShotTask(t, c, pool, cache, self._manifest, self._batch) for t, c in self._configs.items()}

    def content_hash(self) -> str:
        configs = {task: config.model_dump(mode="json", exclude={"data"}) for task, config in self._configs.items()}
        files = self._manifest.digest if self._manifest else {t: c.data for t, c in self._configs.items()}
        return hashlib.sha256(json.dumps([configs, files], sort_keys=True).encode()).hexdigest()


class ZeroShotTask(TaskAdapter):
    """One task against one pool's text tower; splits and the text head are opened when first used, and kept."""

    def __init__(
        self, task: str, config: TaskConfig, pool: ModelPool, cache: ImageCache, manifest: Manifest | None, batch: int
    ) -> None:
        self.task, self._config, self._pool, self._cache = task, config, pool, cache
        self._manifest, self._batch = manifest, batch
        self._splits: dict[str, Split] = {}
        self._images: dict[str, np.ndarray] = {}
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

    def picture(self, split: str, index: int) -> Image:
        size = self.size(split)
        if not 0 <= index < size:
            raise FusionBenchError(
                f"{self.task} ({split}) has no example {index}", hint=f"it has {size:,}, counted from 0"
            )
        return self._split(split).picture(int(index))

    def inputs(self, split: str) -> Iterator[Tensor]:
        images = self._array(split)
        mean = torch.tensor(self._pool.mean).view(1, -1, 1, 1)
        std = torch.tensor(self._pool.std).view(1, -1, 1, 1)
        for start in range(0, len(images), self._batch):
            pixels = torch.from_numpy(np.array(images[start : start + self._batch]))  # a copy: the map is read-only
            yield ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

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

    def logits(self, model: nn.Module, batch: Tensor) -> Tensor:
        features = F.normalize(model(batch).float(), dim=-1)
        return self._pool.logit_scale * features @ self.head.to(features.device).T

    def data_hash(self, split: str) -> str:
        if split not in self._hashes:
            if self._manifest is not None:
                file = self._manifest.sum(f"{self.task}/{self._file(split)}")
            else:
                data = self._split(split).data
                file = (
                    str(data._fingerprint) if not Path(self._config.data).is_dir() else file_sha256(self._path(split))
                )
            text = json.dumps([file, self._config.classes, self._config.templates])
            self._hashes[split] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[split]

    def _file(self, split: str) -> str:
        return f"{self._config.splits.get(split, split)}.parquet"

    def _path(self, split: str) -> Path:
        return locate(self._config.data) / self._file(split)

    def _split(self, split: str) -> Split:
        if split not in self._splits:
            if self._manifest is not None:
                self._manifest.path(f"{self.task}/{self._file(split)}")  # verified before it is opened
            source = locate(self._config.data)
            self._splits[split] = open_split(
                source if source.is_dir() else self._config.data,
                self._config.splits.get(split, split),
                subset=self._config.subset,
                image_column=self._config.image_column,
                label_column=self._config.label_column,
            )
        return self._splits[split]

    def _array(self, split: str) -> np.ndarray:
        if split not in self._images:
            side = self._pool.image_size
            transform = {"size": side, "mode": "RGB", "resample": "bicubic, shorter side, centre crop", "version": 1}

            # data_hash needs no decoded data, so a second session opens the map and no Parquet at all
            def fill(out: np.ndarray) -> None:
                decode(self._split(split), lambda picture: preprocess(picture, side), out)

            shape = (self._split(split).size, 3, side, side)
            self._images[split] = self._cache.images(self.data_hash(split), transform, shape, fill)
        return self._images[split]


def preprocess(picture: Any, side: int) -> np.ndarray:
    """A PIL picture as uint8 ``(3, side, side)``: RGB, shorter side to ``side`` (bicubic), centre crop.

    Example:
        >>> from PIL import Image
        >>> preprocess(Image.new("L", (40, 20), 7), 10).shape
        (3, 10, 10)
    """
    from PIL import Image

    picture = picture.convert("RGB")
    if picture.size != (side, side):
        scale = side / min(picture.size)
        size = (max(side, round(picture.width * scale)), max(side, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture).transpose(2, 0, 1)
