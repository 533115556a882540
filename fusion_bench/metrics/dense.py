"""Metrics of dense prediction: what each picture adds to mean IoU, and to means over pixels of depth and normals.

First the numbers of one picture (counts and sums over its labelled pixels), from tensors; then metrics of a split and
scores of its pictures from these, so that a split is seen once and nothing of its size is held.

Means are over pixels, not over pictures: pictures with more labelled pixels count for more, as in the literature.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.scores import example_scores

DELTAS = (1.25, 1.25**2, 1.25**3)
"""What prediction and truth of a depth may differ by, as a ratio, to count."""
ANGLES = (11.25, 22.5, 30.0)
"""Degrees that a normal may be off by to count."""
_BINS = 1800  # of a tenth of a degree


def confusion(logits: Tensor, target: Tensor, *, ignored: int = -1) -> Tensor:
    """How often each class was taken for each: int64 ``(b, C, C)``, rows the truth.

    Args:
        logits: ``(b, C, h, w)``.
        target: labels ``(b, h, w)``, integers from 0 to C − 1, or ``ignored``, which counts for nothing.

    Raises:
        FusionBenchError: a label out of range.

    Example:
        >>> logits = torch.tensor([[[[9.0, 9.0, 0.0]], [[0.0, 0.0, 9.0]]]])
        >>> confusion(logits, torch.tensor([[[0, 1, -1]]])).tolist()
        [[[1, 0], [1, 0]]]
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    classes = logits.shape[1]
    said, target = logits.argmax(dim=1), target.long()
    counted = target != ignored
    wrong = target[counted & ((target < 0) | (target >= classes))]
    if wrong.numel():
        raise FusionBenchError(
            f"a pixel is labelled {int(wrong[0])}, and there are {classes} classes",
            hint=f"labels run from 0 to {classes - 1}; ignored: {int(wrong[0])} if it stands for no class",
        )
    # torchmetrics leaves out what is labelled ignore_index; a negative one it does not mistake for a class
    target = torch.where(counted, target, -1)
    found = [
        multiclass_confusion_matrix(p, t, classes, ignore_index=-1, validate_args=False)
        for p, t in zip(said, target, strict=True)
    ]
    return torch.stack(found)


def mean_iou(counts: np.ndarray) -> Any:
    """Mean intersection over union, 1/|C| Σ_c n_cc / (n_c· + n_·c − n_cc), over the classes that occur, in truth or
    prediction. In [0, 1].

    Source: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge".

    Args:
        counts: a `confusion` of a split, ``(C, C)``; or several, ``(…, C, C)``.

    Returns:
        A float, or float64 ``(…)``; NaN where no pixel is labelled.

    Example:
        >>> mean_iou(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))  # of 3/4 and 2/3; the third class is nowhere
        0.7083333333333333
    """
    counts = np.asarray(counts, dtype=np.float64)
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2) - both
    ratio = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    occurring = (either > 0).sum(axis=-1)
    found = np.divide(ratio.sum(axis=-1), occurring, out=np.full(occurring.shape, math.nan), where=occurring > 0)
    return float(found) if found.ndim == 0 else found


def mean_iou_scores(counts: np.ndarray) -> np.ndarray:
    """`mean_iou` as scores of pictures (see ``metrics.scores``): float64 ``(n,)`` with mIoU as their mean.

    Args:
        counts: int ``(n, C, C)``, n ≥ 2.

    Raises:
        FusionBenchError: without one of the pictures, no pixel is labelled.

    Example:
        >>> same = np.array([[[3, 1], [0, 2]]] * 4)
        >>> mean_iou_scores(same).tolist() == [mean_iou(same[0])] * 4
        True
    """
    total = counts.sum(axis=0)
    without = np.asarray(mean_iou(total - counts))
    return _scores(mean_iou(total), without)


def depth_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """Sums over the pixels of each picture that have a depth: float64 ``(b, 7)``.

    Their columns: pixels, |p − t|, |p − t| / t, (p − t)², and how many have max(p/t, t/p) below each of ``DELTAS``. A
    target of 0 or less is no depth; a prediction of 0 or less is off by any ratio.

    Source: Eigen, Puhrsch and Fergus 2014, arXiv 1406.2283.

    Args:
        prediction, target: ``(b, 1, h, w)`` or ``(b, h, w)``, in metres.

    Example:
        >>> found = depth_errors(torch.tensor([[[1.0, 3.0, 5.0]]]), torch.tensor([[[1.0, 2.0, 0.0]]]))
        >>> found.tolist()
        [[2.0, 1.0, 0.5, 1.0, 1.0, 2.0, 2.0]]
    """
    p, t = prediction.flatten(1).double(), target.flatten(1).double()
    known = t > 0
    safe = torch.where(known, t, 1.0)
    off = torch.where(known, (p - t).abs(), 0.0)
    ratio = torch.where(p > 0, torch.maximum(p / safe, safe / p.clamp(min=1e-12)), math.inf)
    within = [((ratio < delta) & known).sum(dim=1) for delta in DELTAS]
    sums = [known.sum(dim=1), off.sum(dim=1), (off / safe).sum(dim=1), off.square().sum(dim=1), *within]
    return torch.stack([one.double() for one in sums], dim=1)


def normal_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """Angles between surface normals, in degrees, over the pixels of each picture that have one: float64.

    Columns: pixels, Σ angle, how many are below each of ``ANGLES``, then a histogram of 1,800 bins over [0, 180], from
    which `median_angle` reads the median. A target of zeros is no normal; a prediction of zeros is 90° off.

    Source: Fouhey, Gupta and Hebert 2013, "Data-Driven 3D Primitives for Single Image Understanding".

    Args:
        prediction, target: ``(b, 3, h, w)``, of any length.

    Returns:
        ``(b, 5 + 1800)``.

    Example:
        >>> said = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]).view(1, 3, 1, 2)  # up, right
        >>> true = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]).view(1, 3, 1, 2)  # up, up
        >>> normal_errors(said, true)[0, :5].tolist()
        [2.0, 90.0, 1.0, 1.0, 1.0]
    """
    p, t = prediction.flatten(2).double(), target.flatten(2).double()
    known = (t != 0).any(dim=1)
    p, t = torch.nn.functional.normalize(p, dim=1), torch.nn.functional.normalize(t, dim=1)
    # by both sine and cosine: acos alone loses half the digits of small angles
    angle = torch.rad2deg(torch.atan2(torch.linalg.cross(p, t, dim=1).norm(dim=1), (p * t).sum(dim=1)))
    angle = torch.where((p == 0).all(dim=1), 90.0, angle)
    counts = torch.zeros(len(p), _BINS, dtype=torch.float64, device=p.device)
    counts.scatter_add_(1, (angle * (_BINS / 180)).long().clamp(max=_BINS - 1), known.double())
    within = [((angle < limit) & known).sum(dim=1) for limit in ANGLES]
    sums = [known.sum(dim=1), torch.where(known, angle, 0.0).sum(dim=1), *within]
    return torch.cat([torch.stack([one.double() for one in sums], dim=1), counts], dim=1)


def median_angle(histogram: np.ndarray) -> float:
    """The median of angles, in degrees, from their histogram over [0, 180]; to within a bin's width, 0.1°.

    Args:
        histogram: counts ``(1800,)``.

    Returns:
        NaN where nothing was counted.

    Example:
        >>> counts = np.zeros(1800)
        >>> counts[100] = 8  # eight angles from 10.0 to 10.1
        >>> round(median_angle(counts), 9)
        10.05
    """
    total = np.cumsum(histogram)
    if not total[-1]:
        return math.nan
    half = total[-1] / 2
    at = int(np.searchsorted(total, half))
    below = total[at - 1] if at else 0.0
    return float((at + (half - below) / histogram[at]) * 180 / len(histogram))


def pixel_mean(sums: np.ndarray, pixels: np.ndarray) -> float:
    """Σ sums / Σ pixels, of pictures ``(n,)``; NaN where no pixel is labelled."""
    total = float(pixels.sum())
    return float(sums.sum()) / total if total else math.nan


def pixel_mean_scores(sums: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """`pixel_mean` as scores of pictures (see ``metrics.scores``): float64 ``(n,)``, n ≥ 2.

    Raises:
        FusionBenchError: without one of the pictures, no pixel is labelled.

    Example:
        >>> pixel_mean_scores(np.array([1.0, 2.0]), np.array([2.0, 2.0])).tolist()
        [0.5, 1.0]
    """
    left = pixels.sum() - pixels
    without = np.divide(sums.sum() - sums, left, out=np.full(len(sums), math.nan), where=left > 0)
    return _scores(pixel_mean(sums, pixels), without)


def _scores(value: float, without: np.ndarray) -> np.ndarray:
    if not (math.isfinite(value) and np.isfinite(without).all()):
        raise FusionBenchError(
            "fewer than two pictures have labelled pixels",
            hint="use more pictures, or look at what stands for no label",
        )
    return example_scores(value, without)
