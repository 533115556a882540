"""What a classifier's predictions are worth: accuracy, cross-entropy, calibration. torchmetrics does the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError


def accuracy(prediction: Tensor, label: Tensor) -> float:
    """Top-1 accuracy, the share of ``prediction == label``, in [0, 1].

    Args:
        prediction: int64 ``(n,)``, n ≥ 1.
        label: int64 ``(n,)``.

    Example:
        >>> accuracy(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 0, 1]))
        0.75
    """
    from torchmetrics.functional.classification import multiclass_accuracy

    _check(prediction, label)
    classes = max(2, int(torch.maximum(prediction.max(), label.max())) + 1)
    # micro: every example counts alike; fp64 arithmetic happens in torchmetrics' integer counts
    return float(multiclass_accuracy(prediction, label, num_classes=classes, average="micro").double())


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Per-example cross-entropy −log softmax(z)_y in nats, float64 ``(n,)``.

    Args:
        logits: ``(n, C)``.
        label: int64 ``(n,)``.

    Example:
        >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).exp()
        tensor([2.], dtype=torch.float64)
    """
    return torch.nn.functional.cross_entropy(logits.double(), label, reduction="none")


def calibration_error(confidence: Tensor, correct: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error: Σ_b (n_b / n) · |accuracy_b − confidence_b| over equal-width bins of confidence.

    Source: Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599.

    Args:
        confidence: probability of the predicted class, in [0, 1], ``(n,)``.
        correct: bool ``(n,)``.

    Example:
        >>> round(calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False])), 6)
        0.25
    """
    from torchmetrics.functional.classification import binary_calibration_error

    _check(confidence, correct)
    # "binary" in torchmetrics compares a probability with a 0/1 event; here the event is "the prediction is right"
    return float(binary_calibration_error(confidence.float().clamp(0, 1), correct.long(), n_bins=bins, norm="l1"))


def normalized_accuracy(accuracy: Mapping[str, float], expert: Mapping[str, float]) -> dict[str, float]:
    """Per task, accuracy over that of the task's expert; tasks whose expert scored zero are an error.

    Example:
        >>> normalized_accuracy({"mnist": 0.45}, {"mnist": 0.9})
        {'mnist': 0.5}
    """
    zero = [task for task in accuracy if not expert.get(task)]
    if zero:
        raise FusionBenchError(
            f"no expert accuracy above zero for {', '.join(zero)}", hint="run the reference row 'experts' first"
        )
    return {task: value / expert[task] for task, value in accuracy.items()}


def _check(values: Tensor, label: Tensor) -> None:
    if values.shape != label.shape or values.ndim != 1 or not len(values):
        raise FusionBenchError(
            f"predictions of shape {tuple(values.shape)} and labels of shape {tuple(label.shape)}",
            hint="both are one number an example, at least one example",
        )
