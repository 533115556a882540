"""Evaluation: every prediction of a model on every task, deterministic to the bit on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.metrics.classification import cross_entropy
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.models.ensemble import Ensemble
from fusion_bench.models.lent import at_hand
from fusion_bench.progress import Counted, Progress, silent
from fusion_bench.taskpools.ahead import ahead
from fusion_bench.taskpools.base import ScoredTask, TaskAdapter
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.placement import NoRoom
from fusion_bench.taskpools.steps import Steps, pinned

Kept = TypeVar("Kept", Tensor, Predictions)
Found = TypeVar("Found")


class LogitCache:
    """Logits of a pool's own models, what they generate and how they score: ensembles and ``experts`` share them.

    Args:
        name_of: the name of a model whose logits are to be kept, None of any other. Models that it names must never be
            written to.
    """

    def __init__(self, name_of: Callable[[nn.Module], str | None]) -> None:
        self._name_of = name_of
        self._kept: dict[tuple[str, ...], Tensor | Predictions] = {}

    def get(self, model: nn.Module, key: Sequence[str], compute: Callable[[], Kept]) -> Kept:
        """What is kept for ``model`` under a key, else what ``compute`` finds.

        Args:
            key: what it depends on beside the model: task, split, device, type, and what it is.
        """
        name = self._name_of(model)
        if name is None:
            return compute()
        full = (name, *key)
        if full not in self._kept:
            self._kept[full] = compute()
        return cast("Kept", self._kept[full])  # a key says what it is of

    def bytes_held(self) -> int:
        """Bytes of all tensors kept."""
        return sum(kept.numel() * kept.element_size() for kept in self._kept.values() if isinstance(kept, Tensor))


@dataclass
class _Run:
    """What the evaluation of a model's tasks has in common."""

    split: str
    device: str
    cache: LogitCache | None
    steps: Steps
    _there: ExitStack = field(default_factory=ExitStack)
    _placed: tuple[nn.Module, nn.Module] | None = None

    def logits(self, model: nn.Module, adapter: TaskAdapter) -> Tensor:
        return self._found(model, adapter, "logits", adapter.logits)

    def generated(self, model: nn.Module, adapter: TaskAdapter) -> Tensor:
        return self._found(model, adapter, "generated", adapter.generate)

    def _found(
        self, model: nn.Module, adapter: TaskAdapter, what: str, of: Callable[[nn.Module, Batch], Tensor]
    ) -> Tensor:
        def through(placed: nn.Module) -> Tensor:
            parts = []
            with closing(ahead(self._inputs(adapter))) as batches:
                for batch in batches:
                    doing = f"evaluating {adapter.task!r}"
                    parts.append(self.steps.run(lambda part: of(placed, part), batch, self.device, doing=doing))
            return torch.cat(parts)

        return self._cached(model, adapter, what, lambda: self._with(model, through))

    def scored(self, model: nn.Module, adapter: ScoredTask, counted: Counted) -> Predictions:
        def through(placed: nn.Module) -> Predictions:
            return adapter.predictions(placed, self.split, device=self.device, steps=self.steps, counted=counted)

        return self._cached(model, adapter, "scored", lambda: self._with(model, through))

    def _with(self, model: nn.Module, work: Callable[[nn.Module], Found]) -> Found:
        """What work finds, with fewer weights on the device if they leave no room for it."""
        while True:
            try:
                return work(self._put(model))
            except NoRoom:
                if not self.steps.placing.fewer(self.device):
                    raise
            self.close()

    def _put(self, model: nn.Module) -> nn.Module:
        """The model where it runs; the last one stays there for its next task."""
        if self._placed is None or self._placed[0] is not model:
            self.close()
            placed = self._there.enter_context(self.steps.placing.put(at_hand(model), self.device))
            self._placed = (model, placed)
        return self._placed[1]

    def close(self) -> None:
        """Take the last model from the device."""
        self._placed = None
        self._there.close()

    def _cached(self, model: nn.Module, adapter: TaskAdapter, what: str, compute: Callable[[], Kept]) -> Kept:
        if self.cache is None:
            return compute()
        precision = self.steps.precision(self.device)
        return self.cache.get(model, (adapter.task, self.split, self.device, precision, what), compute)

    def _inputs(self, adapter: TaskAdapter) -> Iterator[Batch]:
        batches = adapter.inputs(self.split)
        return (pinned(batch) for batch in batches) if torch.device(self.device).type == "cuda" else batches


def evaluate(
    model: nn.Module,
    adapters: Mapping[str, TaskAdapter],
    *,
    split: str = "test",
    tasks: Sequence[str] | None = None,
    progress: Progress = silent,
    cache: LogitCache | None = None,
    device: str = "cpu",
    steps: Steps | None = None,
) -> dict[str, Predictions]:
    """Run a model on a split of each task.

    A model that has ``for_task(name)`` is evaluated on the variant it returns for the name of a task's expert, which is
    the task's own name unless its pool says otherwise; an `Ensemble` combines its members' logits. Where an adapter
    generates, a model's predictions are what it answers, those of an ensemble the largest of its combined logits;
    confidence and loss always come from logits.

    Args:
        tasks: some of the adapters' names; all when None.
        progress: called with the task's name and the examples done: before and after each task, and as a `ScoredTask`
            counts.
        cache: where logits of the pool's own models are kept and found.
        steps: the type that models compute in, and how many examples devices had room for; None: float32, not known.

    Raises:
        FusionBenchError: an unknown task, no room for one example, a generated class that is none, or an ensemble on a
            task that has no outputs to combine.
    """
    chosen = list(adapters) if tasks is None else list(tasks)
    for task in chosen:
        if task not in adapters:
            raise unknown_name("task", task, adapters)
    run = _Run(split, device, cache, steps or Steps())
    total, done = sum(adapters[task].size(split) for task in chosen), 0
    results = {}
    with closing(run):
        for task in chosen:
            adapter = adapters[task]
            route = getattr(model, "for_task", None)
            variant: nn.Module = model if route is None else route(adapter.expert)
            progress(f"evaluate {task}", done, total)
            if isinstance(adapter, ScoredTask):
                results[task] = _scored(variant, adapter, run, _counting(progress, f"evaluate {task}", done, total))
            else:
                logits, answers = _outputs(variant, adapter, run)
                found = _predictions(task, logits, answers, adapter.labels(split), adapter.clusters(split))
                results[task] = replace(found, extra=adapter.measures(found.prediction, found.label))
            done += adapter.size(split)
            progress(f"evaluate {task}", done, total)
    return results


def _counting(progress: Progress, stage: str, before: int, total: int) -> Counted:
    return lambda done: progress(stage, before + done, total)


def _scored(model: nn.Module, adapter: ScoredTask, run: _Run, counted: Counted) -> Predictions:
    if isinstance(model, Ensemble):
        raise FusionBenchError(
            f"{adapter.task!r} is scored by {adapter.metric}: there are no logits of members to combine",
            hint="use an algorithm that makes one model, or leave the task out",
        )
    return run.scored(model, adapter, counted)


def _outputs(model: nn.Module, adapter: TaskAdapter, run: _Run) -> tuple[Tensor, Tensor | None]:
    """Logits, and the classes that were generated where that is what counts."""
    if isinstance(model, Ensemble):
        return model.combine([run.logits(member, adapter) for member in model.members.values()]), None
    logits = run.logits(model, adapter)
    if not adapter.generates:
        return logits, None
    answers = run.generated(model, adapter)
    if answers.shape != logits.shape[:1] or answers.dtype != torch.int64:
        raise FusionBenchError(
            f"generate of {adapter.task!r} gave {tuple(answers.shape)} of {answers.dtype}",
            hint=f"it should be int64 of shape ({len(logits)},)",
        )
    if len(answers) and not -1 <= int(answers.min()) <= int(answers.max()) < logits.shape[1]:
        raise FusionBenchError(
            f"generate of {adapter.task!r} gave classes from {int(answers.min())} to {int(answers.max())}",
            hint=f"it has {logits.shape[1]}; -1 stands for none of them",
        )
    return logits, answers


def _predictions(
    task: str, logits: Tensor, answers: Tensor | None, label: Tensor, cluster: np.ndarray | None
) -> Predictions:
    probabilities = logits.double().softmax(dim=-1)
    confidence, largest = probabilities.max(dim=-1)
    prediction = largest if answers is None else answers
    return Predictions(
        task=task,
        index=np.arange(len(label)),
        label=label.numpy().copy(),
        prediction=prediction.numpy().copy(),
        confidence=confidence.float().numpy().copy(),
        loss=cross_entropy(logits, label).numpy().copy(),
        cluster=cluster,
    )
