"""What a task pool is, and the adapter through which every data-driven method and the evaluation see one task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Counted, uncounted
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.protocols import Group, Outcome, Protocol, Standard, Trial

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

    from fusion_bench.metrics.predictions import Predictions
    from fusion_bench.modelpools.base import ModelPool
    from fusion_bench.taskpools.steps import Steps


class TaskAdapter(ABC):
    """One task, bound to a pool: batches, labels, and what a model's output means.

    Attributes:
        task: its name.
        classes: class names, in label order; none of a `ScoredTask`.
        generates: whether predictions come from `generate` rather than from the largest of `logits`.
    """

    task: str
    classes: tuple[str, ...] = ()
    generates: bool = False

    @property
    def expert(self) -> str:
        """Whose task it is: an expert's name, whether or not the model pool has one of that name."""
        return self.task

    @abstractmethod
    def size(self, split: str) -> int:
        """Examples in a split."""

    @abstractmethod
    def inputs(self, split: str) -> Iterator[Batch]:
        """Batches of inputs, without labels, in a fixed order and of a fixed size (the last may be smaller)."""

    @abstractmethod
    def labels(self, split: str) -> Tensor:
        """Labels of a split, int64 ``(n,)``; a `FusionBenchError` where it has none."""

    def clusters(self, split: str) -> np.ndarray | None:
        """What each example comes from (a writer, a typeface, a base glyph), strings ``(n,)``; None where not known.

        Examples of one cluster are not independent: intervals and tests draw whole clusters.
        """
        return None

    def conditions(self, split: str) -> np.ndarray | None:
        """Under which condition each example stands (a corruption and its severity), strings ``(n,)``; or None."""
        return None

    def picture(self, split: str, index: int) -> Image:
        """Example ``index`` of a split as a person would look at it, a PIL image.

        Raises:
            FusionBenchError: the task's examples are no pictures, or there is no such index.
        """
        raise FusionBenchError(f"examples of {self.task!r} cannot be shown", hint="its task pool has no pictures")

    def measures(self, prediction: np.ndarray, label: np.ndarray) -> Mapping[str, float]:
        """What else predicted classes are worth, by name; it is told beside the accuracy and decides nothing.

        Args:
            prediction, label: int64 ``(n,)``; -1 where a model answered none of the classes.
        """
        return {}

    @abstractmethod
    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores ``(b, classes)`` of a model for a batch."""

    def generate(self, model: nn.Module, batch: Batch) -> Tensor:
        """The class that a model answers with in its own words, for each example of a batch.

        Asked of adapters that say ``generates``; confidence and loss still come from `logits`, and so does the
        prediction of an ensemble, whose members have nothing to average but those.

        Returns:
            int64 ``(b,)``: positions in ``classes``, or -1 where the answer is none of them.

        Raises:
            FusionBenchError: the task's models only score classes.
        """
        raise FusionBenchError(f"{self.task!r} does not generate", hint="its predictions are the largest logits")

    def loss(self, model: nn.Module, batch: Batch, labels: Tensor) -> Tensor:
        """Mean cross-entropy of a batch, in nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits(model, batch), labels)

    @abstractmethod
    def data_hash(self, split: str) -> str:
        """A hash of the split's content, labels and class names."""


class ScoredTask(TaskAdapter):
    """One task that scores a model as a whole, where there are no classes whose logits could be kept and combined.

    Methods that learn from a task's inputs or labels, and ensembles of outputs, cannot use it unless it says more.

    Attributes:
        metric: what it is scored by; larger is better.
    """

    metric: str

    @abstractmethod
    def predictions(
        self, model: nn.Module, split: str, *, device: str, steps: Steps, counted: Counted = uncounted
    ) -> Predictions:
        """Run a model, already on ``device`` and in evaluation mode, over a split.

        Args:
            counted: told now and then how many of the split's examples are done.
        """

    def labels(self, split: str) -> Tensor:
        raise self._without("labels of classes")

    def inputs(self, split: str) -> Iterator[Batch]:
        raise self._without("batches of inputs")

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        raise self._without("logits")

    def _without(self, what: str) -> FusionBenchError:
        return FusionBenchError(
            f"{self.task!r} has no {what}: it is scored by {self.metric}",
            hint="use an algorithm that reads only weights, or leave the task out",
        )


def check_losses(adapters: Mapping[str, TaskAdapter], tasks: Iterable[str]) -> None:
    """Check, before a model runs, that tasks have losses.

    Raises:
        FusionBenchError: one is scored otherwise.
    """
    for task in tasks:
        adapter = adapters.get(task)
        if isinstance(adapter, ScoredTask):
            raise FusionBenchError(
                f"{task!r} has no losses: it is scored by {adapter.metric}",
                hint="look at other tasks, or by other views",
            )


class TaskPool(ABC):
    """Several tasks.

    Attributes:
        name: as the user types it.
        tasks: their names, in the order they are shown.
        protocol: which fusions a case makes of them, and what it evaluates.
        belongs: names that the expert of a task may have, where that is not the task's own; see `own_experts`.
    """

    name: str
    tasks: tuple[str, ...]
    protocol: Protocol = Standard()
    belongs: Mapping[str, Sequence[str]] = MappingProxyType({})

    @abstractmethod
    def bind(self, pool: ModelPool) -> Mapping[str, TaskAdapter]:
        """An adapter for each task, for the models of ``pool``."""

    @abstractmethod
    def content_hash(self) -> str:
        """A hash of everything that evaluation reads."""

    def own_experts(self, experts: Sequence[str]) -> dict[str, str]:
        """The expert that each task belongs to, of a model pool with these; tasks that it has none for are left out.

        It is the first that the pool has of the names in ``belongs``, else that of the task's name.
        """
        candidates = {task: (*self.belongs.get(task, ()), task) for task in self.tasks}
        found = {task: next((name for name in names if name in experts), None) for task, names in candidates.items()}
        return {task: name for task, name in found.items() if name is not None}

    def trials(self, experts: Sequence[str]) -> tuple[Trial, ...]:
        """The fusions that a case makes of a model pool with these experts; the first is its main one."""
        return self.protocol.trials(self.tasks, experts, self.own_experts(experts))

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        """What a case reports of its trials' outcomes beside the main trial's metrics."""
        return self.protocol.groups(outcomes)

    def facts(self) -> dict[str, Any]:
        """What results depend on and no YAML says, for instance versions of libraries that make the data."""
        return {}
