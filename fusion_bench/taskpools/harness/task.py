"""A task of the harness, bound to a model pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Counted, uncounted
from fusion_bench.taskpools.base import ScoredTask
from fusion_bench.taskpools.harness.chosen import predictions_of
from fusion_bench.taskpools.harness.opened import OpenTask
from fusion_bench.taskpools.harness.running import run

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.metrics.predictions import Predictions
    from fusion_bench.taskpools.steps import Steps

_SPLIT = "test"


class HarnessTask(ScoredTask):
    """One task; the harness makes the prompts, asks the model and reads its answers.

    Args:
        opened: the task.
        tokenizer: of the pool's models.
        batch: examples at once, at most.
        chat: whether prompts go through the tokenizer's chat template.
        fits: by device, how many examples memory sufficed for; shared by the tasks of a pool.
        expert: whose task it is; the task's own name when None.

    Raises:
        FusionBenchError: a chat template is asked for that the tokenizer has not.
    """

    def __init__(
        self,
        opened: OpenTask,
        tokenizer: Any,
        *,
        batch: int,
        chat: bool,
        fits: MutableMapping[str, int],
        expert: str | None = None,
    ) -> None:
        self.task, self.metric, self._opened = opened.name, opened.chosen.name, opened
        self._tokenizer, self._batch, self._chat, self._fits = tokenizer, batch, chat, fits
        self._expert = expert or opened.name
        if chat and not getattr(tokenizer, "chat_template", None):
            raise FusionBenchError(
                f"{self.task!r}: the models' tokenizer has no chat template", hint="apply_chat_template: false"
            )

    @property
    def expert(self) -> str:
        return self._expert

    def size(self, split: str) -> int:
        self._check(split)
        return self._opened.size

    def predictions(
        self, model: nn.Module, split: str, *, device: str, steps: Steps, counted: Counted = uncounted
    ) -> Predictions:
        self._check(split)
        results, samples = run(
            model, self._opened, self._tokenizer, batch=self._batch, chat=self._chat, device=device, steps=steps,
            fits=self._fits, counted=counted,
        )  # fmt: skip
        return predictions_of(self.task, self._opened.chosen, results, samples, size=self._opened.size)

    def data_hash(self, split: str) -> str:
        self._check(split)
        chosen, template = self._opened.chosen, str(self._tokenizer.chat_template) if self._chat else None
        text = json.dumps(
            [self._opened.digest, self._opened.size, chosen.metric, chosen.filter, template, chosen.right_or_wrong]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def _check(self, split: str) -> None:
        if split != _SPLIT:
            raise FusionBenchError(
                f"{self.task!r} has no split {split!r}: the harness evaluates, and nothing is held out to choose by",
                hint="give the algorithm's searched options a value, for instance algorithm.scaling=0.3",
            )
