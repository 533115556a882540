"""A task of texts: tokenised a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from fusion_bench.modelpools.zero_shot import TextPool
from fusion_bench.taskpools.base import Batch
from fusion_bench.taskpools.zero_shot.task import ZeroShotTask

_TOGETHER = 32  # texts of similar length: short ones are not padded to the longest of the batch


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
        tokens = cast("dict[str, Tensor]", batch)
        lengths = tokens["attention_mask"].sum(dim=1)
        order = lengths.argsort(stable=True)
        parts = []
        for chosen in order.split(_TOGETHER):
            longest = int(lengths[chosen].max())
            parts.append(super().logits(model, {name: ids[chosen, :longest] for name, ids in tokens.items()}))
        return torch.cat(parts)[order.argsort()]
