"""A task whose test pictures are corrupted, each in every way that the pool declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.datasets.corruption import NAMES, SMALLEST, corrupt_all, versions
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.taskpools.zero_shot.images import ImageTask

if TYPE_CHECKING:
    from PIL.Image import Image

#: The split that is corrupted, and the name by which it is had as it was.
TEST, CLEAN = "test", "clean"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Corruptions:
    """What is done to the test pictures: every corruption at every severity.

    Args:
        names: of `fusion_bench.datasets.corruption.NAMES`.
        severities: whole numbers from 1 to 5.
        seed: of what is drawn.

    Example:
        >>> Corruptions(names=["fog", "frost"], severities=[1, 3]).conditions
        (('fog', 1), ('fog', 3), ('frost', 1), ('frost', 3))
    """

    names: tuple[str, ...] = Field(min_length=1)
    severities: tuple[Annotated[int, Field(strict=True, ge=1, le=5)], ...] = Field(min_length=1)
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in NAMES:
                raise ValueError(str(unknown_name("corruption", name, NAMES)))
        return names

    @field_validator("names", "severities")
    @classmethod
    def _once_each(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("one of them stands there twice")
        return values

    @property
    def conditions(self) -> tuple[tuple[str, int], ...]:
        """Name and severity of each, in the order in which the test split holds them."""
        return tuple((name, severity) for name in self.names for severity in self.severities)

    def facts(self) -> dict[str, Any]:
        """All that the pixels depend on beside the pictures: names, severities, seed, and versions of libraries."""
        declared = {"names": list(self.names), "severities": list(self.severities), "seed": self.seed}
        return {**declared, "libraries": versions()}


class CorruptedTask(ImageTask):
    """An `ImageTask` whose split ``test`` is the corrupted pictures: all of one condition, then all of the next.

    Example i of n × conditions is picture i mod n under condition i div n. Pictures are corrupted as the model gets
    them, after they were resized. Every other split is as it was, and ``clean`` is the test split as it was: so
    hyper-parameters are chosen on clean pictures. Examples made of one picture share a cluster.
    """

    def __init__(self, *arguments: Any, corruptions: Corruptions, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._corruptions = corruptions
        if self._pool.image_size < SMALLEST:
            raise FusionBenchError(
                f"pictures of {self._pool.image_size} pixels a side are too small to be corrupted",
                hint=f"the library takes {SMALLEST} or more",
            )

    def size(self, split: str) -> int:
        return self._pictures(split) * (len(self._corruptions.conditions) if split == TEST else 1)

    def _pictures(self, split: str) -> int:
        return super().size(_source(split))

    def labels(self, split: str) -> Tensor:
        labels = super().labels(_source(split))
        return labels.repeat(len(self._corruptions.conditions)) if split == TEST else labels

    def clusters(self, split: str) -> np.ndarray | None:
        clusters = super().clusters(_source(split))
        if split != TEST:
            return clusters
        if clusters is None:
            clusters = np.array([str(index) for index in range(self._pictures(split))])
        return np.tile(clusters, len(self._corruptions.conditions))

    def conditions(self, split: str) -> np.ndarray | None:
        if split != TEST:
            return None
        names = np.array([f"{name}/{severity}" for name, severity in self._corruptions.conditions])
        return np.repeat(names, self._pictures(split))

    def picture(self, split: str, index: int) -> Image:
        if split != TEST:
            return super().picture(_source(split), self._checked(split, index))
        from PIL import Image as Pictures

        condition, position = divmod(self._checked(split, index), self._pictures(split))
        pixels = self._corrupted(*self._corruptions.conditions[condition])[position]
        return Pictures.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    def inputs(self, split: str) -> Iterator[Tensor]:
        if split != TEST:
            yield from super().inputs(_source(split))
            return
        # all of them before the first batch: what corrupts pictures seeds NumPy's global generator, which no thread may
        for images in [self._corrupted(name, severity) for name, severity in self._corruptions.conditions]:
            yield from self._standardised(images)

    def data_hash(self, split: str) -> str:
        found = super().data_hash(_source(split))
        if split != TEST:
            return found
        text = json.dumps([found, self._facts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return self._corruptions.facts()

    def _corrupted(self, name: str, severity: int) -> np.ndarray:
        """The test pictures under one condition: made once, then mapped; pools that share a condition share it."""
        key = f"{TEST}/{name}/{severity}"
        if key not in self._images:
            clean = self.images(TEST)
            libraries, seed = self._facts["libraries"], self._corruptions.seed
            done = {"corruption": name, "severity": severity, "seed": seed, "task": self.task, "libraries": libraries}

            def fill(out: np.ndarray) -> None:
                corrupt_all(clean, name, severity, out, key=(seed, self.task, TEST))

            hashed = super().data_hash(TEST)
            self._images[key] = self._cache.images(hashed, {**self._transform, **done}, clean.shape, fill)
        return self._images[key]


def _source(split: str) -> str:
    return TEST if split == CLEAN else split


def condition_groups(conditions: Sequence[str]) -> dict[str, list[str]]:
    """The conditions of each corruption, and those of each severity where there are several.

    Example:
        >>> condition_groups(["fog/1", "fog/3", "snow/1", "snow/3"])
        {'fog': ['fog/1', 'fog/3'], 'snow': ['snow/1', 'snow/3'], 'severity_1': ['fog/1', 'snow/1'], \
'severity_3': ['fog/3', 'snow/3']}
    """
    names, severities = ([c.split("/")[part] for c in conditions] for part in (0, 1))
    groups = {name: [c for c in conditions if c.split("/")[0] == name] for name in dict.fromkeys(names)}
    levels = {f"severity_{s}": [c for c in conditions if c.split("/")[1] == s] for s in dict.fromkeys(severities)}
    return {**groups, **(levels if len(levels) > 1 else {})}
