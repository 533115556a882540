"""Tasks of pictures: decoded and resized once, then mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fusion_bench.datasets import ImageCache
from fusion_bench.datasets.sizing import Sizing, preprocess
from fusion_bench.datasets.splits import decode
from fusion_bench.taskpools.labelled.task import LabelledTask

if TYPE_CHECKING:
    from PIL.Image import Image


class PicturePool(Protocol):
    """How a pool wants pictures: how they get their size, and how they are standardised, a number a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def sizing(self) -> Sizing: ...


class PictureTask(LabelledTask):
    """A task of pictures, for a `PicturePool`.

    Args:
        cache: of decoded pictures.
    """

    column = "image"
    _pool: Any

    def __init__(self, *arguments: Any, cache: ImageCache, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cache = cache
        self._images: dict[str, np.ndarray] = {}

    def picture(self, split: str, index: int) -> Image:
        return self._split(split).picture(self._checked(split, index))

    def inputs(self, split: str) -> Iterator[Tensor]:
        return self._standardised(self.images(split))

    def batch(self, split: str, rows: np.ndarray) -> Tensor:
        """Examples of a split as a model takes them, ``(len(rows), 3, h, w)``."""
        return torch.cat(list(self._standardised(self.images(split)[rows])))

    def _standardised(self, images: np.ndarray) -> Iterator[Tensor]:
        wanted: PicturePool = self._pool
        mean = torch.tensor(wanted.mean).view(1, -1, 1, 1)
        std = torch.tensor(wanted.std).view(1, -1, 1, 1)
        for start in range(0, len(images), self._batch):
            pixels = torch.from_numpy(np.array(images[start : start + self._batch]))  # a copy: the map is read-only
            yield ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    @property
    def _sizing(self) -> Sizing:
        wanted: PicturePool = self._pool
        return wanted.sizing

    @property
    def _transform(self) -> dict[str, Any]:
        return self._sizing.facts()

    def images(self, split: str) -> np.ndarray:
        """All pictures of a split, uint8 ``(n, 3, h, w)``, decoded once and mapped; not to be written to."""
        if split not in self._images:
            sizing = self._sizing

            # data_hash needs no decoded data, so a second session opens the map and no Parquet at all
            def fill(out: np.ndarray) -> None:
                decode(self._split(split), lambda picture: preprocess(picture, sizing), out)

            shape = (self._split(split).size, 3, sizing.side, sizing.side)
            self._images[split] = self._cache.images(self.data_hash(split), self._transform, shape, fill)
        return self._images[split]
