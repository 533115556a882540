"""Models that say something of every pixel: an encoder that is fused, and each expert's own head."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from fusion_bench.modelpools.base import ModelPool

if TYPE_CHECKING:
    from torch import nn


class DensePredictorPool(ModelPool):
    """Models from images ``(n, 3, h, w)`` to maps of features, and a head for each task that an expert was tuned for.

    Attributes:
        mean, std: how pixels of 0 to 1 are standardised, a number a channel.
    """

    does = "predict a map of every picture, through a head of the task"

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @abstractmethod
    def head(self, task: str) -> nn.Module:
        """From features to a map ``(n, channels, h', w')``, smaller than the picture: not to be written to.

        Heads are not fused: every model of the pool, and every one made of them, is seen through them.

        Raises:
            FusionBenchError: no expert of that name, or one without a head.
        """

    @abstractmethod
    def channels(self, task: str) -> int:
        """Of the head's maps."""
