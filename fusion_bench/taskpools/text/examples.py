"""The examples of a task of texts: splits, labels, and what they are made of."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fusion_bench.datasets import Split, locate, open_split
from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.datasets.stored import TRAIN, check_test_size, stored_split, stored_sums
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.scores import MATTHEWS, matthews
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.labelled.classes import check_order
from fusion_bench.taskpools.text.config import TextTaskConfig

_MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {MATTHEWS: matthews}
_TOGETHER = 32  # texts of similar length: short ones are not padded to the longest of the batch


class TextExamples(TaskAdapter):
    """One task of texts; splits are opened when they are first used, and kept.

    Args:
        task: its name.
        config: of its card.
        batch: examples a step.
    """

    def __init__(self, task: str, config: TextTaskConfig, *, batch: int) -> None:
        self.task, self.config, self._batch = task, config, batch
        self._splits: dict[str, Split] = {}
        self._hashes: dict[str, str] = {}

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.config.classes or ()

    def size(self, split: str) -> int:
        return self._split(split).size

    def labels(self, split: str) -> Tensor:
        labels = self._split(split).labels
        if labels is None:
            raise FusionBenchError(
                f"split {split!r} of {self.task} has no labels", hint="use train, validation or test"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise FusionBenchError(
                f"labels of {self.task} ({split}) run from {labels.min()} to {labels.max()}, "
                f"it has {len(self.classes)} classes",
                hint="a label of -1 is one that the publisher of the data keeps: splits: {test: validation}",
            )
        return torch.from_numpy(labels)

    def clusters(self, split: str) -> np.ndarray | None:
        return self._split(split).clusters

    def texts(self, split: str) -> dict[str, list[str]]:
        """The texts of a split by column, each as many as it has examples."""
        found = self._split(split)
        return {column: replace(found, column=column).texts() for column in self.config.columns}

    def measures(self, prediction: np.ndarray, label: np.ndarray) -> Mapping[str, float]:
        return {name: _MEASURES[name](prediction, label) for name in self.config.also}

    @abstractmethod
    def encoded(self, texts: Mapping[str, list[str]]) -> Mapping[str, Tensor]:
        """A batch of texts by column as a model's arguments."""

    def inputs(self, split: str) -> Iterator[Batch]:
        texts = self.texts(split)
        for start in range(0, self.size(split), self._batch):
            yield dict(self.encoded({column: own[start : start + self._batch] for column, own in texts.items()}))

    def data_hash(self, split: str) -> str:
        if split not in self._hashes:
            made_of = self.config.model_dump(mode="json", exclude={"data", "test_size", "revision", "also"})
            order = [list(self.config.held_out)] if self.config.held_out else []  # it decides what is drawn
            text = json.dumps([self._content(split), made_of, *order], sort_keys=True)
            self._hashes[split] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[split]

    @property
    def _label_column(self) -> str | None:
        """Of the classes; None where the task has none."""
        return self.config.label_column

    def _stored(self, split: str) -> tuple[str, Mapping[str, float] | None]:
        return stored_split(split, self.config.splits, self.config.held_out)

    def _content(self, split: str) -> str:
        name, held = self._stored(split)
        folder = Path(self.config.data)
        if folder.is_dir():
            return json.dumps([split, file_sha256(folder / f"{TRAIN if held else name}.parquet")])
        sums = stored_sums(self.config.data, subset=self.config.subset, revision=self.config.revision)
        return json.dumps([split, name, sums if sums is not None else str(self._split(split).data._fingerprint)])

    def _split(self, split: str) -> Split:
        if split not in self._splits:
            name, held = self._stored(split)
            source = locate(self.config.data)
            opened = open_split(
                source if source.is_dir() else self.config.data,
                name,
                subset=self.config.subset,
                revision=self.config.revision,
                column=self.config.columns[0],
                label_column=self._label_column or (),
                held_out=held,
            )
            self._check(split, opened)
            self._splits[split] = opened
        return self._splits[split]

    def _check(self, split: str, opened: Split) -> None:
        """Refuse data that is not what the card was written for."""
        for column in self.config.columns:
            if column not in opened.data.column_names:
                raise FusionBenchError(
                    f"{self.config.data} ({split}) has no column {column!r}, which {self.task!r} is made of",
                    hint=f"its columns are {', '.join(opened.data.column_names)}",
                )
        if opened.classes is not None:
            check_order(self.classes, opened.classes, task=self.task, data=self.config.data)
        check_test_size(split, opened.size, self.config.test_size, task=self.task, data=self.config.data)


def by_length(batch: Batch, function: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
    """A function of texts, worked out in groups of similar length; padding costs as much as words.

    Args:
        batch: arguments by name, padded on the right, ``attention_mask`` among them.
        function: of such arguments, to a tensor with a row for each text.

    Returns:
        Its rows in the order of the batch.

    Example:
        >>> mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
        >>> by_length({"attention_mask": mask}, lambda part: part["attention_mask"].sum(dim=1))
        tensor([3, 1])
    """
    tokens = cast("Mapping[str, Tensor]", batch)
    lengths = tokens["attention_mask"].sum(dim=1)
    order = lengths.argsort(stable=True)
    parts = []
    for chosen in order.split(_TOGETHER):
        longest = max(1, int(lengths[chosen].max()))
        parts.append(function({name: ids[chosen, :longest] for name, ids in tokens.items()}))
    return torch.cat(parts)[order.argsort()]
