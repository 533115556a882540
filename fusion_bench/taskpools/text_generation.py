"""Tasks answered in words by encoder-decoders: prompts from templates, answers by likelihood or as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.metrics.scores import SPEARMAN
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.text import By, GenerationTask, NumberTask, TextTaskConfig, TextTaskPool
from fusion_bench.taskpools.text.pool import BATCH


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by: By
    max_new_tokens: int = Field(ge=1)


class TextGeneration(TextTaskPool):
    """Tasks of texts that a model answers in words; see ``TextTaskPool`` for the other options.

    Args:
        by: ``likelihood``: the answer that the model finds likeliest, which is always one of them. ``generation``: what
            it writes, greedily; anything but an answer counts as wrong. Losses are of likelihoods in both. Numbers
            (a card with ``metric: spearman``) are only written, and have no loss.
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
        options = _Options(by=by, max_new_tokens=max_new_tokens)
        self._by, self._most = options.by, options.max_new_tokens
        super().__init__(name, tasks, cards, batch_size, protocol)

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        models = require(pool, Seq2SeqPool, by=f"task pool {self.name!r}")
        return {task: self._adapter(task, config, models) for task, config in self._configs.items()}

    def _adapter(self, task: str, config: TextTaskConfig, models: Seq2SeqPool) -> TaskAdapter:
        if config.metric == SPEARMAN:
            return NumberTask(task, config, models, batch=self._batch, max_new_tokens=self._most)
        return GenerationTask(task, config, models, batch=self._batch, by=self._by, max_new_tokens=self._most)

    def _metrics(self) -> tuple[str, ...]:
        return ("accuracy", SPEARMAN) if self._by == "generation" else ("accuracy",)

    def _how(self) -> dict[str, Any]:
        return {"by": self._by, **({"max_new_tokens": self._most} if self._by == "generation" else {})}
