"""Labelled pictures as arrays: what every source becomes before it is split, trained on or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

SIZE = 32


@dataclass(frozen=True)
class Pictures:
    """``images`` uint8 ``(n, 32, 32, 3)``; one label and one group per picture.

    ``groups`` is what must be new at test time (a font family, a character, a concept): a group never spans two splits.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.groups):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels, {len(self.groups)} groups")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: np.ndarray) -> Pictures:
        return Pictures(self.images[index], self.labels[index], self.groups[index], self.classes)

    def save(self, path: Path | BinaryIO) -> None:
        np.savez_compressed(
            path, images=self.images, labels=self.labels, groups=self.groups, classes=np.array(self.classes)
        )

    @classmethod
    def load(cls, path: Path) -> Pictures:
        with np.load(path) as file:
            return cls(file["images"], file["labels"], file["groups"], tuple(file["classes"].tolist()))

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], labels: Sequence[int], groups: Sequence[str], classes: Sequence[str]
    ) -> Pictures:
        stacked = np.stack(images) if len(images) else np.zeros((0, SIZE, SIZE, 3), np.uint8)
        if stacked.ndim == 3:
            stacked = np.repeat(stacked[..., None], 3, axis=3)
        return cls(
            stacked.astype(np.uint8), np.asarray(labels, np.int64), np.asarray(groups, dtype=str), tuple(classes)
        )


def to_square(image: np.ndarray) -> np.ndarray:
    """Pad a 28x28 picture with its border value to 32x32."""
    margin = (SIZE - image.shape[-1]) // 2
    return np.pad(image, ((margin, SIZE - image.shape[-2] - margin), (margin, SIZE - image.shape[-1] - margin)))
