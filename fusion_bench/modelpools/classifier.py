"""Pools of image classifiers: backbones that are fused, and for each expert the head that it was trained with."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from fusion_bench.datasets.sizing import Sizing
from fusion_bench.modelpools.base import ModelPool

if TYPE_CHECKING:
    from torch import nn


class ImageClassifierPool(ModelPool):
    """Models from images ``(n, 3, h, w)`` to features, and a head for each task that an expert was tuned for.

    Attributes:
        sizing: how pictures get their size.
        mean, std: how pixels are standardised, a number a channel.
    """

    does = "score classes of images through a head of the task"

    sizing: Sizing
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_size(self) -> int:
        """Pixels of a side."""
        return self.sizing.side

    @abstractmethod
    def head(self, task: str) -> nn.Module:
        """From features to class scores ``(n, classes)``: the head of the task's expert, not to be written to.

        Heads are not fused: every model of the pool, and every one made of them, is seen through them.

        Raises:
            FusionBenchError: no expert of that name, or one without a head.
        """

    @abstractmethod
    def head_labels(self, task: str) -> tuple[str, ...]:
        """What the head calls its classes, in their order (``LABEL_0`` and so on where it only counts them)."""
