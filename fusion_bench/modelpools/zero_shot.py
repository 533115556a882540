"""Pools whose models are compared with class names: an encoder that is fused, and a frozen one of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fusion_bench.datasets.sizing import Sizing
from fusion_bench.modelpools.base import ModelPool

if TYPE_CHECKING:
    from torch import Tensor


class ZeroShotPool(ModelPool):
    """Models from inputs to features ``(n, d)``, and a frozen encoder of class names to features of the same kind."""

    @abstractmethod
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Unit features ``(n, d)`` of the frozen text encoder."""

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """What cosines are multiplied with to become logits."""

    def text_hash(self) -> str:
        """A hash of every file that text features depend on: the text tower's weights, its options, its tokenizer."""
        return self.content_hash()


class ImagePool(ZeroShotPool):
    """Models of images ``(n, 3, h, w)``.

    Attributes:
        image_size, mean, std: pixels of a side, and how they are standardised, a number a channel.
    """

    does = "compare images with class names"

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def sizing(self) -> Sizing:
        """How pictures get their size."""
        return Sizing(self.image_size)


class TextPool(ZeroShotPool):
    """Models of token ids; the texts of examples and of class names go through one tokenizer."""

    does = "compare texts with class names"

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids`` and ``attention_mask``, int64 ``(n, longest)``."""
