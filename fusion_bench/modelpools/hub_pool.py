"""What pools in the hub's formats have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion_bench.datasets.sizing import Sizing
from fusion_bench.modelpools.architecture import opened, padding_tokenizer
from fusion_bench.modelpools.base import BASE, MULTITASK, ModelPool
from fusion_bench.modelpools.hub_models import HubModels
from fusion_bench.modelpools.processor import Processor, read_processor
from fusion_bench.weights import read_state_dict


class HubPool(ModelPool):
    """A pool whose models are folders or repositories of the hub; a subclass opens them in its constructor."""

    _models_of: HubModels

    def _open(self, models: HubModels) -> None:
        self.name, self._models_of = models.pool, models
        self.expert_names = models.expert_names

    @property
    def has_multitask(self) -> bool:
        return MULTITASK in self._models_of.sources

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        return self._models_of.checkpoint(name)

    def content_hash(self) -> str:
        return self._models_of.content_hash()

    def load_saved(self, folder: Path) -> nn.Module:
        """The model that `save` wrote."""
        return self.build(read_state_dict(folder / "model.safetensors"))

    def _configuration(self, name: str) -> Any:
        from transformers import AutoConfig

        return opened(AutoConfig, self._models_of.folder(name), label=self._models_of.label(name))

    @cached_property
    def _tokenizer(self) -> Any:
        return padding_tokenizer(self._models_of.folder(BASE), label=self._models_of.label(BASE))


class HubPicturePool(HubPool):
    """One whose pictures are prepared as the base's ``preprocessor_config.json`` says."""

    @cached_property
    def _processor(self) -> Processor:
        return read_processor(self._models_of.folder(BASE), label=self._models_of.label(BASE))

    @property
    def sizing(self) -> Sizing:
        """How pictures get their size."""
        return self._processor.sizing

    @property
    def image_size(self) -> int:
        """Pixels of a side."""
        return self.sizing.side

    @property
    def mean(self) -> tuple[float, ...]:
        """What is taken from pixels of 0 to 1, a number a channel; ``std`` is what they are divided by then."""
        return self._processor.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self._processor.std


class _TextOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    max_tokens: int = Field(ge=4)


class HubTextPool(HubPool):
    """One whose texts go through the base's tokenizer, one call at a time: batches are made by a thread of their own,
    and tokenizers keep options in themselves.
    """

    def _limit(self, max_tokens: int) -> None:
        """Set how many tokens of a text count; its end is cut."""
        self._max_tokens = _TextOptions(max_tokens=max_tokens).max_tokens
        self._tokenizing = Lock()

    def _encoded(self, *texts: Sequence[str]) -> Mapping[str, Tensor]:
        """What the tokenizer makes of texts, or of the first and second texts of pairs."""
        options = {"padding": True, "truncation": True, "max_length": self._max_tokens, "return_tensors": "pt"}
        with self._tokenizing:
            found: Mapping[str, Tensor] = self._tokenizer(*map(list, texts), **options)
        return found
