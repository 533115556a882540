"""Classification of pictures through heads that were trained: each task's is its expert's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.datasets import ImageCache
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.classifier import ImageClassifierPool
from fusion_bench.modelpools.needed import require
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.labelled import LabelledTaskPool, PictureTask
from fusion_bench.taskpools.labelled.classes import check_order


class ImageClassification(LabelledTaskPool):
    """Tasks of pictures, each called like the expert whose head its classes are read from.

    Fields are those of ``LabelledTaskPool``; of a task's ``templates`` nothing is made here.
    """

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        classifiers = require(pool, ImageClassifierPool, by=f"task pool {self.name!r}")
        shared: dict[str, Any] = {"manifest": self._manifest, "batch": self._batch, "cache": ImageCache()}
        found: dict[str, TaskAdapter] = {t: _HeadedTask(t, c, classifiers, **shared) for t, c in self._items()}
        for task in found:
            classifiers.head_labels(task)  # a task without a head is refused before anything is read
        return found

    def examples(self, task: str, pool: ImageClassifierPool) -> PictureTask:
        """A task's pictures as a pool's models take them, whether or not it has an expert for it."""
        config = self._configs[task]
        return _HeadedTask(task, config, pool, manifest=self._manifest, batch=self._batch, cache=ImageCache())


class _HeadedTask(PictureTask):
    """Pictures, and the head that the task's expert was trained with."""

    _pool: ImageClassifierPool
    _head: nn.Module | None = None

    @property
    def head(self) -> nn.Module:
        """From features to scores, once it is known that its classes are the data's."""
        if self._head is None:
            check_order(self.classes, self._pool.head_labels(self.task), task=self.task, data="the expert's head")
            self._head = self._pool.head(self.task)
        return self._head

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        features = model(batch)
        with torch.autocast(features.device.type, enabled=False):
            scores: Tensor = self.head.to(features.device)(features.float())
        if scores.ndim != 2:
            raise FusionBenchError(f"the head of {self.task!r} gave scores of shape {tuple(scores.shape)}")
        return scores
