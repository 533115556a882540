"""The pictures of a task of dense prediction, and the truth about each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fusion_bench.datasets.arrays import ArraySplit, open_arrays
from fusion_bench.datasets.digests import content_sum
from fusion_bench.datasets.manifest import locate
from fusion_bench.datasets.stored import check_test_size, stored_split
from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.dense.config import DenseTaskConfig
from fusion_bench.taskpools.dense.kinds import KINDS

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 8  # pictures read at once to show one


class DenseExamples:
    """One task; splits are opened when they are first used, and read anew each time: they do not fit into memory.

    Args:
        task: its name.
        config: of its card.
        mean, std: how pixels of 0 to 1 are standardised, a number a channel.
        batch: examples a step.
    """

    def __init__(
        self, task: str, config: DenseTaskConfig, mean: tuple[float, ...], std: tuple[float, ...], *, batch: int
    ) -> None:
        self.task, self.config, self._batch = task, config, batch
        self.kind = KINDS[config.kind]
        self._mean, self._std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        self._splits: dict[str, ArraySplit] = {}
        self._hashes: dict[str, str] = {}

    @property
    def channels(self) -> int:
        """Numbers that a map has for a pixel."""
        return self.kind.channels or len(self.config.classes or ())

    def size(self, split: str) -> int:
        return self._split(split).size

    def inputs(self, split: str) -> Iterator[Batch]:
        for batch in self._split(split).batches([self.config.image_column], self._batch):
            yield self._standardised(batch[self.config.image_column])

    def picture(self, split: str, index: int) -> Image:
        from PIL import Image

        opened = self._split(split)
        if not 0 <= index < opened.size:
            raise FusionBenchError(
                f"{self.task} ({split}) has no example {index}", hint=f"it has {opened.size:,}, counted from 0"
            )
        column = self.config.image_column
        for start, batch in enumerate(opened.batches([column], _SHOWN)):
            if index < (start + 1) * _SHOWN:
                pixels = self._pixels(batch[column][index - start * _SHOWN])
                return Image.fromarray((pixels * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
        raise FusionBenchError(f"{opened.name} has fewer rows than its footers say", hint="fetch it again")

    def examples(self, split: str) -> Iterator[Batch]:
        """``images``, standardised, and the ``truth`` about them, ``(b, h, w)`` or ``(b, channels, h, w)``.

        Raises:
            FusionBenchError: columns that hold something else.
        """
        pictures, column = self.config.image_column, self.config.column
        for batch in self._split(split).batches([pictures, column], self._batch):
            truth = torch.from_numpy(batch[column])
            self._check_truth(truth)
            yield {"images": self._standardised(batch[pictures]), "truth": truth}

    def data_hash(self, split: str) -> str:
        if split not in self._hashes:
            files = [content_sum(file) for file in self._split(split).files]
            read = [self.config.image_column, self.config.column, self.config.kind, self.config.void]
            held = self.config.held_out and list(self.config.held_out.items())
            text = json.dumps([split, files, read, self.config.classes, held])
            self._hashes[split] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[split]

    def _check_truth(self, truth: Tensor) -> None:
        channels = self.kind.channels
        shape = tuple(truth.shape[1:])
        fits = len(shape) == 2 if channels is None else shape[:-2] in ([(), (1,)] if channels == 1 else [(channels,)])
        if not fits or (channels is None and truth.is_floating_point()):
            raise FusionBenchError(
                f"column {self.config.column!r} of {self.config.data} holds {truth.dtype} of shape {shape}",
                hint=f"{self.config.kind} needs "
                + ("whole numbers (h, w)" if channels is None else f"({channels}, h, w)"),
            )
        if truth.is_floating_point() and not truth.isfinite().all():
            raise FusionBenchError(
                f"column {self.config.column!r} of {self.config.data} holds values that are not finite",
                hint="write 0 where nothing is known",
            )

    def _pixels(self, images: np.ndarray) -> Tensor:
        """Of 0 to 1."""
        if images.shape[-3:-2] != (3,):
            raise FusionBenchError(
                f"column {self.config.image_column!r} of {self.config.data} holds arrays of shape {images.shape[1:]}",
                hint="pictures are (3, h, w)",
            )
        pixels = torch.from_numpy(np.array(images))  # a copy: what Arrow holds is read-only
        if pixels.dtype == torch.uint8:
            return pixels.float() / 255
        # a little outside is what interpolation leaves; other integers are of a scale that nobody says
        if not pixels.is_floating_point() or not bool(((pixels > -0.1) & (pixels < 1.1)).all()):
            lowest, highest = float(pixels.min()), float(pixels.max())
            raise FusionBenchError(
                f"column {self.config.image_column!r} of {self.config.data} holds {pixels.dtype} from {lowest:g} to "
                f"{highest:g}",
                hint="pictures are floats from 0 to 1, or uint8",
            )
        return pixels.float()

    def _standardised(self, images: np.ndarray) -> Tensor:
        return ((self._pixels(images) - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def _split(self, split: str) -> ArraySplit:
        if split not in self._splits:
            config = self.config
            name, held = stored_split(split, config.splits, config.held_out)
            source = locate(config.data)
            data = source if source.is_dir() else config.data
            opened = open_arrays(data, name, subset=config.subset, revision=config.revision, held_out=held)
            for column in (config.image_column, config.column):
                if column not in opened.columns:
                    raise FusionBenchError(
                        f"{opened.name} has no column {column!r}, which {self.task!r} is made of",
                        hint=f"its columns are {', '.join(opened.columns)}",
                    )
            check_test_size(split, opened.size, config.test_size, task=self.task, data=config.data)
            self._splits[split] = opened
        return self._splits[split]
