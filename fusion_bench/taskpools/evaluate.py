"""Evaluation: every prediction of a model on every task, deterministic to the bit on one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fusion_bench.errors import unknown_name
from fusion_bench.metrics.classification import cross_entropy
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.models.ensemble import Ensemble
from fusion_bench.models.lent import at_hand
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.base import TaskAdapter, moved


class LogitCache:
    """Logits of a pool's own models, by (model, task, split, device): ensembles and ``experts`` share them.

    Args:
        name_of: the name of a model whose logits are to be kept, None of any other. Models that it names must never be
            written to.
    """

    def __init__(self, name_of: Callable[[nn.Module], str | None]) -> None:
        self._name_of = name_of
        self._logits: dict[tuple[str, str, str, str], Tensor] = {}

    def get(self, model: nn.Module, task: str, split: str, device: str, compute: Callable[[], Tensor]) -> Tensor:
        """The logits kept for ``model``, else those that ``compute`` finds."""
        name = self._name_of(model)
        if name is None:
            return compute()
        key = (name, task, split, device)
        if key not in self._logits:
            self._logits[key] = compute()
        return self._logits[key]

    def bytes_held(self) -> int:
        """Bytes of all logits kept."""
        return sum(logits.numel() * logits.element_size() for logits in self._logits.values())


def evaluate(
    model: nn.Module,
    adapters: Mapping[str, TaskAdapter],
    *,
    split: str = "test",
    tasks: Sequence[str] | None = None,
    progress: Progress = silent,
    cache: LogitCache | None = None,
    device: str = "cpu",
) -> dict[str, Predictions]:
    """Run a model on a split of each task.

    A model that has ``for_task(name)`` is evaluated on the variant it returns; an `Ensemble` combines its members'
    logits.

    Args:
        tasks: some of the adapters' names; all when None.
        progress: called once a task with the task's name, and the batches done, in examples.
        cache: where logits of the pool's own models are kept and found.
    """
    chosen = list(adapters) if tasks is None else list(tasks)
    for task in chosen:
        if task not in adapters:
            raise unknown_name("task", task, adapters)
    total, done = sum(adapters[task].size(split) for task in chosen), 0
    results = {}
    for task in chosen:
        adapter = adapters[task]
        route = getattr(model, "for_task", None)
        variant: nn.Module = model if route is None else route(task)
        progress(f"evaluate {task}", done, total)
        logits = _combined(variant, adapter, split, cache, device)
        results[task] = _predictions(task, logits, adapter.labels(split), adapter.clusters(split))
        done += len(logits)
        progress(f"evaluate {task}", done, total)
    return results


def _combined(model: nn.Module, adapter: TaskAdapter, split: str, cache: LogitCache | None, device: str) -> Tensor:
    if isinstance(model, Ensemble):
        return model.combine([_logits(member, adapter, split, cache, device) for member in model.members.values()])
    return _logits(model, adapter, split, cache, device)


def _logits(model: nn.Module, adapter: TaskAdapter, split: str, cache: LogitCache | None, device: str) -> Tensor:
    model = at_hand(model)

    @torch.inference_mode()
    def compute() -> Tensor:
        placed = model.to(device).eval()
        return torch.cat([adapter.logits(placed, moved(batch, device)).cpu() for batch in adapter.inputs(split)])

    return compute() if cache is None else cache.get(model, adapter.task, split, device, compute)


def _predictions(task: str, logits: Tensor, label: Tensor, cluster: np.ndarray | None) -> Predictions:
    probabilities = logits.double().softmax(dim=-1)
    confidence, prediction = probabilities.max(dim=-1)
    return Predictions(
        task=task,
        index=np.arange(len(label)),
        label=label.numpy().copy(),
        prediction=prediction.numpy().copy(),
        confidence=confidence.float().numpy().copy(),
        loss=cross_entropy(logits, label).numpy().copy(),
        cluster=cluster,
    )
