"""One task of dense prediction, bound to a pool."""

from __future__ import annotations

from contextlib import closing
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.modelpools.dense import DensePredictorPool
from fusion_bench.progress import Counted, uncounted
from fusion_bench.taskpools.ahead import ahead
from fusion_bench.taskpools.base import ScoredTask
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.dense.config import DenseTaskConfig
from fusion_bench.taskpools.dense.examples import DenseExamples
from fusion_bench.taskpools.steps import Steps


class DenseTask(DenseExamples, ScoredTask):
    """Pictures and a map of each; what a head says is brought to the map's size, bilinearly.

    Args:
        task: its name, which is that of the expert whose head answers.
        config: of its card.
        pool: whose models answer.
        batch: examples a step.

    Raises:
        FusionBenchError: the expert's head gives other maps than the task asks for.
    """

    def __init__(self, task: str, config: DenseTaskConfig, pool: DensePredictorPool, *, batch: int) -> None:
        super().__init__(task, config, pool.mean, pool.std, batch=batch)
        self._pool, self.metric = pool, self.kind.metric
        found = pool.channels(task)
        if found != self.channels:
            what = "classes" if config.classes else "channels"
            raise FusionBenchError(
                f"{task!r} asks for {self.channels} {what} a pixel, the head of its expert in {pool.name!r} gives "
                f"{found}",
                hint="the expert was trained on other labels, or for another task",
            )

    def predictions(
        self, model: nn.Module, split: str, *, device: str, steps: Steps, counted: Counted = uncounted
    ) -> Predictions:
        head = self._pool.head(self.task)

        def answer(batch: Batch) -> Tensor:
            given = cast("dict[str, Tensor]", batch)
            features = model(given["images"])
            with torch.autocast(features.device.type, enabled=False):
                maps = head.to(features.device)(features.float())
            truth = given["truth"]
            maps = enlarged(maps, truth)
            finite = maps.isfinite().flatten(1).all(dim=1)
            known = torch.where(finite.view(-1, 1, 1, 1), maps, 0.0)  # numbers are made of numbers
            return torch.where(finite[:, None], self.kind.numbers(known, truth, self.config), torch.nan)

        parts: list[Tensor] = []
        with closing(ahead(self.examples(split))) as batches:
            for batch in batches:
                parts.append(steps.run(answer, batch, device, doing=f"evaluating {self.task!r}"))
                counted(sum(map(len, parts)))
        rows = torch.cat(parts).numpy()
        wrong = int(np.isnan(rows).any(axis=1).sum())
        if wrong:
            raise FusionBenchError(
                f"the fused model's outputs are not finite for {wrong} of {len(rows)} examples of {self.task}",
                hint="its weights or activations overflow; a smaller scaling is the usual cure",
            )
        if int((self.kind.labelled(rows) > 0).sum()) < 2:
            raise FusionBenchError(
                f"{self.task!r} ({split}): fewer than two pictures have labelled pixels",
                hint="use more pictures, or look at what stands for no label in the card",
            )
        scores, others = self.kind.scored(rows)
        return Predictions.of_scores(self.task, self.metric, scores, extra=others)


def enlarged(maps: Tensor, truth: Tensor) -> Tensor:
    """Maps ``(b, c, h', w')`` at the size of the truth ``(…, h, w)``: bilinearly, corners on corners."""
    return F.interpolate(maps, truth.shape[-2:], mode="bilinear", align_corners=True)
