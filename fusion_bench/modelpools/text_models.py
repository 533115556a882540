"""Pools of language models: they answer in words, go on with a text, or score classes through a head of the task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_bench.modelpools.base import ModelPool

if TYPE_CHECKING:
    from torch import Tensor, nn


class Seq2SeqPool(ModelPool):
    """Encoders with a decoder, of transformers' interface: ``get_encoder``, ``forward``, ``generate``."""

    does = "write answers in words"

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids`` and ``attention_mask``, int64 ``(n, longest)``, padded on the right."""

    @abstractmethod
    def targets(self, answers: Sequence[str]) -> list[list[int]]:
        """The ids that a model should write for each answer, its end among them."""

    @abstractmethod
    def words(self, written: Tensor) -> list[str]:
        """What was written: ids int64 ``(n, longest)`` to texts without special tokens."""


class CausalPool(ModelPool):
    """Decoders, of transformers' interface: ``forward`` scores the next token at each place, ``generate``."""

    does = "go on with texts"

    @property
    @abstractmethod
    def tokenizer(self) -> Any:
        """Transformers' tokenizer of all its models, with a token to pad with, on the left: a text goes on at its end.

        It is the pool's own: who changes its options, puts them back.
        """


class ClassifierPool(ModelPool):
    """Backbones that are fused, and for each expert the head that it was trained with, which is not."""

    does = "score classes of texts through a head of the task"

    @abstractmethod
    def tokens(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Mapping[str, Tensor]:
        """A backbone's arguments by name, int64 ``(n, longest)``, padded on the right.

        Args:
            texts: the examples, or the first text of each.
            pairs: the second text of each, where examples are pairs.
        """

    @abstractmethod
    def head(self, task: str) -> Callable[[nn.Module, Mapping[str, Tensor]], Tensor]:
        """From a backbone and its arguments to class scores ``(n, classes)``, or ``(n, 1)``, a number an example where
        that is what the head was trained to give; by the head of the task's expert.

        Heads are no part of what is fused, and of no secret: a model that was fused without a task's expert is still
        evaluated through that task's head, as is the base.

        Raises:
            FusionBenchError: no expert of that name, or one without a head.
        """

    @abstractmethod
    def head_size(self, task: str) -> int:
        """How many numbers the head of the task gives for an example: one a class, or the one of a regression.

        It is told before weights are read.

        Raises:
            FusionBenchError: no expert of that name, or one that can have no head.
        """

    @abstractmethod
    def head_labels(self, task: str) -> tuple[str, ...]:
        """What the head of the task calls its classes, in their order; empty where it only counts them."""
