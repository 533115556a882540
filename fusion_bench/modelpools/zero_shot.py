"""Pools whose models are compared with class names: an encoder that is fused, and a frozen one of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.view import whole

if TYPE_CHECKING:
    from torch import Tensor


class ZeroShotPool(ModelPool):
    """Models from inputs to features ``(n, d)``, and a frozen encoder of class names to features of the same kind."""

    takes: ClassVar[str] = "inputs"

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

    takes = "images"

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TextPool(ZeroShotPool):
    """Models of token ids; the texts of examples and of class names go through one tokenizer."""

    takes = "texts"

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids`` and ``attention_mask``, int64 ``(n, longest)``."""


Kind = TypeVar("Kind", bound=ZeroShotPool)


def require(pool: ModelPool, kind: Callable[..., Kind], *, by: str) -> Kind:
    """The pool, if its models take what a task pool has.

    Raises:
        FusionBenchError: they take something else.
    """
    behind = whole(pool)
    assert isinstance(kind, type)  # mypy takes no abstract class for a type[Kind]
    assert issubclass(kind, ZeroShotPool)
    if not isinstance(behind, kind):
        has = f"takes {behind.takes}" if isinstance(behind, ZeroShotPool) else "compares nothing with class names"
        raise FusionBenchError(
            f"{by} has {kind.takes}, and model pool {pool.name!r} {has}",
            hint="the YAML of a model pool lists under taskpools: what fits it",
        )
    return cast(Kind, pool)
