"""One task against one pool's text encoder: examples against the frozen text features of the class names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.modelpools.zero_shot import ZeroShotPool
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.labelled import LabelledTask, TaskConfig
from fusion_bench.taskpools.zero_shot.heads import HeadCache, kept_head

__all__ = ["TaskConfig", "ZeroShotTask"]


class ZeroShotTask(LabelledTask):
    """One task against one pool's text encoder; the head is made when it is first used, and kept on disk."""

    _pool: ZeroShotPool
    _head: Tensor | None = None

    @property
    def head(self) -> Tensor:
        """Unit directions of the classes, ``(classes, d)``: means over templates of text features, made unit."""
        if self._head is None:
            self._head = kept_head(self._pool, self.classes, self._config.templates, cache=HeadCache())
        return self._head

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        features = model(batch)
        with torch.autocast(features.device.type, enabled=False):  # cosines differ by less than bf16 tells
            features = F.normalize(features.float(), dim=-1)
            return self._pool.logit_scale * features @ self.head.to(features.device).T
