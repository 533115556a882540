"""A task of pictures: decoded and resized once, then mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fusion_bench.datasets import ImageCache
from fusion_bench.datasets.splits import decode
from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.taskpools.zero_shot.task import ZeroShotTask

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageTask(ZeroShotTask):
    """Pictures against the frozen text features of the class names.

    Args:
        cache: of decoded pictures.
    """

    column = "image"
    _pool: ImagePool

    def __init__(self, *arguments: Any, cache: ImageCache, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cache = cache
        self._images: dict[str, np.ndarray] = {}

    def picture(self, split: str, index: int) -> Image:
        return self._split(split).picture(self._checked(split, index))

    def inputs(self, split: str) -> Iterator[Tensor]:
        return self._standardised(self._array(split))

    def _standardised(self, images: np.ndarray) -> Iterator[Tensor]:
        mean = torch.tensor(self._pool.mean).view(1, -1, 1, 1)
        std = torch.tensor(self._pool.std).view(1, -1, 1, 1)
        for start in range(0, len(images), self._batch):
            pixels = torch.from_numpy(np.array(images[start : start + self._batch]))  # a copy: the map is read-only
            yield ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    @property
    def _transform(self) -> dict[str, Any]:
        """What is done to every picture: part of the name that the arrays are cached under."""
        return {
            "size": self._pool.image_size,
            "mode": "RGB",
            "resample": "bicubic, shorter side, centre crop",
            "version": 2,
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

    The longer side is rounded down, as transformers' processor of CLIP does.

    Example:
        >>> from PIL import Image
        >>> preprocess(Image.new("L", (40, 20), 7), 10).shape
        (3, 10, 10)
    """
    from PIL import Image

    picture = picture.convert("RGB")
    if picture.size != (side, side):
        short = min(picture.size)
        size = (picture.width * side // short, picture.height * side // short)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture).transpose(2, 0, 1)
