"""What can be asked of a pixel, and how answers are scored: a picture's numbers, then a split's metrics of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fusion_bench.metrics import dense

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_bench.taskpools.dense.config import DenseTaskConfig

Scored = tuple[np.ndarray, dict[str, float]]
"""Scores of pictures whose mean is the metric, and other measures by name."""


@dataclass(frozen=True)
class Kind:
    """One kind of map.

    Attributes:
        metric: what a task is scored by: a share in [0, 1], larger is better, so that tasks can be averaged.
        channels: of a model's maps; None: one a class.
        numbers: from a model's maps and the truth to a row of numbers a picture, float64 ``(b, m)``.
        scored: from the rows of all pictures to their scores and other measures.
        labelled: from the rows to how many pixels of each picture have a label.
    """

    metric: str
    channels: int | None
    numbers: Callable[[Tensor, Tensor, DenseTaskConfig], Tensor]
    scored: Callable[[np.ndarray], Scored]
    labelled: Callable[[np.ndarray], np.ndarray] = lambda rows: rows[:, 0]


def _confused(maps: Tensor, truth: Tensor, config: DenseTaskConfig) -> Tensor:
    return dense.confusion(maps, truth, ignored=config.void).flatten(1).double()


def _segmentation(rows: np.ndarray) -> Scored:
    classes = round(rows.shape[1] ** 0.5)
    counts = rows.reshape(len(rows), classes, classes)
    right = np.trace(counts, axis1=1, axis2=2)
    return dense.mean_iou_scores(counts), {"pixel_accuracy": dense.pixel_mean(right, rows.sum(axis=1))}


def _shares(rows: np.ndarray, names: Mapping[str, int], best: int) -> Scored:
    """Scores by one column of sums, and the means of others; the first column counts pixels."""
    pixels = rows[:, 0]
    others = {name: dense.pixel_mean(rows[:, at], pixels) for name, at in names.items()}
    return dense.pixel_mean_scores(rows[:, best], pixels), others


def _depth(rows: np.ndarray) -> Scored:
    names = {"absolute_error": 1, "relative_error": 2, "rmse": 3, "delta2": 5, "delta3": 6}
    scores, others = _shares(rows, names, best=4)
    return scores, {**others, "rmse": others["rmse"] ** 0.5}


def _normal(rows: np.ndarray) -> Scored:
    scores, others = _shares(rows, {"mean_angle": 1, "within_22.5": 3, "within_30": 4}, best=2)
    return scores, {**others, "median_angle": dense.median_angle(rows[:, 5:].sum(axis=0))}


def _plain(function: Callable[[Tensor, Tensor], Tensor], maps: Tensor, truth: Tensor, _: DenseTaskConfig) -> Tensor:
    return function(maps, truth.to(torch.float32))


KINDS: Mapping[str, Kind] = {
    "segmentation": Kind("miou", None, _confused, _segmentation, lambda rows: rows.sum(axis=1)),
    "depth": Kind("delta1", 1, partial(_plain, dense.depth_errors), _depth),
    "normal": Kind("within_11.25", 3, partial(_plain, dense.normal_errors), _normal),
}
"""By the name that a card says."""
