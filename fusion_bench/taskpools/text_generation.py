"""Tasks answered in words by encoder-decoders: prompts from templates, answers by likelihood or as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.text import By, GenerationTask, TextTaskPool
from fusion_bench.taskpools.text.pool import BATCH


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by: By
    max_new_tokens: int = Field(ge=1)


class TextGeneration(TextTaskPool):
    """Tasks of texts that a model answers in words; see ``TextTaskPool`` for the other options.

    Args:
        by: ``likelihood``: the answer that the model finds likeliest, which is always one of them. ``generation``: what
            it writes, greedily; anything but an answer counts as wrong. Losses are of likelihoods in both.
        max_new_tokens: that a model may write. Published Flan-T5 tables have 9: 10 with the token that it starts from.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        cards: str | None = None,
        by: By = "likelihood",
        max_new_tokens: int = 9,
        batch_size: int = BATCH,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, tasks, cards, batch_size, protocol)
        options = _Options(by=by, max_new_tokens=max_new_tokens)
        self._by, self._most = options.by, options.max_new_tokens

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        models = require(pool, Seq2SeqPool, by=f"task pool {self.name!r}")
        return {
            task: GenerationTask(task, config, models, batch=self._batch, by=self._by, max_new_tokens=self._most)
            for task, config in self._configs.items()
        }

    def _how(self) -> dict[str, Any]:
        return {"by": self._by, **({"max_new_tokens": self._most} if self._by == "generation" else {})}
