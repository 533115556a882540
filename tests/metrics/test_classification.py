"""Metrics against their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import accuracy, calibration_error, cross_entropy, normalized_accuracy


def test_accuracy_counts_examples_not_classes() -> None:
    prediction, label = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 2, 1])
    assert accuracy(prediction, label) == pytest.approx(3 / 5)


def test_cross_entropy_against_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = 20 * torch.randn(50, 7, generator=generator), torch.randint(7, (50,), generator=generator)
    z = logits.double().numpy()
    expected = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(50), label]
    assert np.allclose(cross_entropy(logits, label).numpy(), expected)


def test_calibration_error_against_bins_by_hand() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(2000), rng.random(2000) < 0.6
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(torch.tensor(confidence), torch.tensor(correct)) == pytest.approx(expected, abs=1e-4)


def test_normalized_by_an_expert_that_knows_nothing() -> None:
    with pytest.raises(FusionBenchError, match="mnist"):
        normalized_accuracy({"mnist": 0.5}, {"mnist": 0.0})


def test_shapes_must_agree() -> None:
    with pytest.raises(FusionBenchError, match="shape"):
        accuracy(torch.zeros(2), torch.zeros(3))
