"""Every model of a pool on every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_bench.analysis.deltas import Array
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.base import TaskAdapter, check_losses
from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True)
class CrossTask:
    """Models times tasks.

    Attributes:
        models, tasks: names of the rows and columns.
        accuracy: shares of correct predictions, (models, tasks).
        loss: mean cross-entropy in nats, (models, tasks).
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    accuracy: Array
    loss: Array

    def row(self, model: str) -> Array:
        """The accuracies of one model, (tasks,)."""
        found: Array = self.accuracy[self.models.index(model)]
        return found

    def own(self) -> dict[str, float]:
        """The accuracy of each expert on the task it is named after."""
        return {m: float(self.row(m)[self.tasks.index(m)]) for m in self.models if m in self.tasks}

    def elsewhere(self) -> dict[str, float]:
        """The mean accuracy of each expert on the tasks it is not named after; none where there is no other task."""
        return {m: float(np.delete(self.row(m), self.tasks.index(m)).mean()) for m in self.own() if len(self.tasks) > 1}


def cross_task(
    pool: ModelPool,
    adapters: Mapping[str, TaskAdapter],
    *,
    models: Sequence[str] | None = None,
    split: str = "test",
    cache: LogitCache | None = None,
    device: str = "cpu",
    steps: Steps | None = None,
    progress: Progress = silent,
) -> CrossTask:
    """Accuracy and loss of every model on every task: what fine-tuning on one task does to the others.

    Args:
        models: names; base, experts and multi-task model when None.
        split: with labels.
        cache: where logits of the pool's own models are kept and found.
        steps: how batches are run, as in `evaluate`.
        progress: told of every model.

    Raises:
        FusionBenchError: an unknown model; a loss that is not finite.

    Example:
        >>> from fusion_bench import load_modelpool, load_taskpool
        >>> pool = load_modelpool("clip_mini")
        >>> tasks = {k: v for k, v in load_taskpool("mini8").bind(pool).items() if k in ("mnist", "hangul")}
        >>> found = cross_task(pool, tasks, models=["mnist", "hangul"], split="validation")
        >>> found.accuracy.shape, all(own > found.elsewhere()[name] for name, own in found.own().items())
        ((2, 2), True)
    """
    check_losses(adapters, adapters)
    names = tuple(pool.names if models is None else models)
    for name in names:
        pool.check_name(name)
    accuracy, loss = (np.zeros((len(names), len(adapters))) for _ in range(2))
    for i, name in enumerate(names):
        progress(f"evaluate {name}", i, len(names))
        found = evaluate(pool.model(name), adapters, split=split, cache=cache, device=device, steps=steps)
        accuracy[i] = [found[task].value for task in adapters]
        loss[i] = [found[task].mean_loss for task in adapters]
        for task, value in zip(adapters, loss[i], strict=True):
            if not np.isfinite(value):
                raise FusionBenchError(
                    f"the loss of {name!r} on {task} is not finite", hint="its weights or activations overflow"
                )
    return CrossTask(names, tuple(adapters), accuracy, loss)
