"""A task of texts: tokenised a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from fusion_bench.modelpools.zero_shot import TextPool
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.text.examples import by_length
from fusion_bench.taskpools.zero_shot.task import ZeroShotTask


class TextTask(ZeroShotTask):
    """Texts against the frozen features of the class names."""

    column = "text"
    _pool: TextPool

    def inputs(self, split: str) -> Iterator[Batch]:
        texts = self._split(split).texts()
        for start in range(0, len(texts), self._batch):
            yield self._pool.tokens(texts[start : start + self._batch])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores, worked out in groups of similar length; padding costs as much as words."""
        score = super().logits
        return by_length(batch, lambda tokens: score(model, tokens))
