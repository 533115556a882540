"""One task against one pool's text tower: images against the frozen text features of the class names."""

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
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter

if TYPE_CHECKING:
    from PIL.Image import Image


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
        return self._split(split).picture(self._checked(split, index))

    def _checked(self, split: str, index: int) -> int:
        size = self.size(split)
        if not 0 <= index < size:
            raise FusionBenchError(
                f"{self.task} ({split}) has no example {index}", hint=f"it has {size:,}, counted from 0"
            )
        return int(index)

    def inputs(self, split: str) -> Iterator[Tensor]:
        return self._standardised(self._array(split))

    def _standardised(self, images: np.ndarray) -> Iterator[Tensor]:
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

    @property
    def _transform(self) -> dict[str, Any]:
        """What is done to every picture: part of the name that the arrays are cached under."""
        return {
            "size": self._pool.image_size,
            "mode": "RGB",
            "resample": "bicubic, shorter side, centre crop",
            "version": 1,
        }

    def _array(self, split: str) -> np.ndarray:
        if split not in self._images:
            side, transform = self._pool.image_size, self._transform

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
