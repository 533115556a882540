"""Metrics of dense prediction against scikit-learn, torchmetrics, numpy and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torchmetrics.functional import mean_absolute_error, mean_absolute_percentage_error, mean_squared_error

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.dense import (
    ANGLES,
    DELTAS,
    confusion,
    depth_errors,
    mean_iou,
    mean_iou_scores,
    median_angle,
    normal_errors,
    pixel_mean,
    pixel_mean_scores,
)


def maps(seed: int, n: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, 5, 7, generator=generator)
    return logits, torch.randint(-1, classes, (n, 5, 7), generator=generator)


def test_mean_iou_is_scikit_learns() -> None:
    for seed in range(5):
        logits, truth = maps(seed)
        truth[truth == 3] = 2  # a class that only predictions have
        counts = confusion(logits, truth).numpy()
        said, true = logits.argmax(1).flatten().numpy(), truth.flatten().numpy()
        kept = true >= 0
        expected = jaccard_score(true[kept], said[kept], average="macro", labels=np.union1d(true[kept], said[kept]))
        assert mean_iou(counts.sum(0)) == pytest.approx(expected, abs=1e-12)
        assert counts.sum() == kept.sum()


def test_a_class_that_is_nowhere_does_not_count() -> None:
    counts = np.zeros((5, 5), int)
    counts[:2, :2] = [[3, 1], [0, 2]]
    assert mean_iou(counts) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert np.isnan(mean_iou(np.zeros((3, 3), int)))


def test_what_is_ignored_and_what_is_out_of_range() -> None:
    logits, truth = maps(0)
    other = torch.where(truth < 0, 255, truth)
    assert torch.equal(confusion(logits, truth), confusion(logits, other, ignored=255))
    with pytest.raises(FusionBenchError, match="a pixel is labelled 255, and there are 4 classes"):
        confusion(logits, other)


def test_scores_of_pictures_are_what_the_metric_loses_without_them() -> None:
    logits, truth = maps(3, n=9)
    counts = confusion(logits, truth).numpy()
    scores, whole = mean_iou_scores(counts), mean_iou(counts.sum(0))
    without = np.array([mean_iou(np.delete(counts, i, axis=0).sum(0)) for i in range(9)])
    assert scores.mean() == pytest.approx(whole, abs=1e-12)
    assert np.allclose(np.diff(scores), -8 * np.diff(without), atol=1e-12)
    sums, pixels = np.arange(9.0), np.arange(2.0, 11.0)
    scores = pixel_mean_scores(sums, pixels)
    without = np.array([np.delete(sums, i).sum() / np.delete(pixels, i).sum() for i in range(9)])
    assert scores.mean() == pytest.approx(pixel_mean(sums, pixels)) == pytest.approx(36 / 54)
    assert np.allclose(np.diff(scores), -8 * np.diff(without))


@pytest.mark.parametrize("metric", ["miou", "pixels"])
def test_intervals_from_scores_cover_the_metric_of_the_population(metric: str) -> None:
    """Pictures drawn from a population of 20,000; a right 95 % interval misses 20 of 400 times, sd 4.4."""
    rng = np.random.default_rng(7)
    hard = rng.beta(2, 3, 20_000)  # a picture's own rate of mistakes
    truth = rng.multinomial(60, [0.6, 0.3, 0.1], 20_000)
    wrong = rng.binomial(truth, hard[:, None])
    counts = np.zeros((20_000, 3, 3), int)
    for c in range(3):
        counts[:, c, c], counts[:, c, (c + 1) % 3] = truth[:, c] - wrong[:, c], wrong[:, c]
    pixels, sums = counts.sum((1, 2)).astype(float) + rng.integers(0, 60, 20_000), np.trace(counts, axis1=1, axis2=2)
    held = 0
    for _ in range(400):
        drawn = rng.integers(0, 20_000, 150)
        scores = mean_iou_scores(counts[drawn]) if metric == "miou" else pixel_mean_scores(sums[drawn], pixels[drawn])
        true = mean_iou(counts.sum(0)) if metric == "miou" else pixel_mean(sums, pixels)
        half = 1.976 * scores.std(ddof=1) / np.sqrt(150)
        held += abs(scores.mean() - true) <= half
    assert 365 <= held <= 395


def test_errors_of_depth_are_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(1)
    said, true = torch.rand(3, 1, 6, 5, generator=generator) * 5, torch.rand(3, 1, 6, 5, generator=generator) * 5
    true[:, :, :2] = 0
    rows = depth_errors(said, true)
    for picture, row in enumerate(rows):
        p, t = said[picture][true[picture] > 0].double(), true[picture][true[picture] > 0].double()
        n = float(row[0])
        assert n == len(t) == 20
        assert float(row[1] / n) == pytest.approx(float(mean_absolute_error(p, t)), rel=1e-12)
        assert float(row[2] / n) == pytest.approx(float(mean_absolute_percentage_error(p, t)), rel=1e-12)
        assert float(row[3] / n) == pytest.approx(float(mean_squared_error(p, t)), rel=1e-12)
        ratio = torch.maximum(p / t, t / p)
        assert row[4:].tolist() == [float((ratio < delta).sum()) for delta in DELTAS]


def test_a_depth_of_nothing_is_off_by_any_ratio() -> None:
    rows = depth_errors(torch.tensor([[[-1.0, 0.0, 1.0]]]), torch.tensor([[[1.0, 1.0, 1.0]]]))
    assert rows.tolist() == [[3.0, 3.0, 3.0, 5.0, 1.0, 1.0, 1.0]]


def test_angles_are_numpys_and_do_not_depend_on_length() -> None:
    rng = np.random.default_rng(2)
    said, true = rng.normal(size=(2, 3, 8, 9)), rng.normal(size=(2, 3, 8, 9))
    true[:, :, :2] = 0
    true[:, :, 3, 4] = [1.0, -1.0, 0.0]  # a normal whose parts add up to nothing is one all the same
    rows = normal_errors(torch.from_numpy(said), torch.from_numpy(true))
    p, t = (np.moveaxis(a, 1, -1).reshape(2, -1, 3).astype(np.longdouble) for a in (said, true))
    for picture in range(2):
        kept = (t[picture] != 0).any(1)
        a, b = p[picture][kept], t[picture][kept]
        cosine = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
        angle = np.degrees(np.arccos(cosine)).astype(float)
        row = rows[picture].numpy()
        assert row[0] == kept.sum() == 54
        assert row[1] == pytest.approx(angle.sum(), rel=1e-10)
        assert row[2:5].tolist() == [(angle < limit).sum() for limit in ANGLES]
        assert row[5:].sum() == 54
        assert abs(median_angle(row[5:]) - np.median(angle)) < 3.0  # of 54 angles, two of which may lie far apart
    stretched = normal_errors(torch.from_numpy(3 * said), torch.from_numpy(0.2 * true))
    assert torch.allclose(rows[:, :5], stretched[:, :5])


def test_small_angles_keep_their_digits() -> None:
    tilt = np.radians(1e-4)
    said = torch.tensor([0.0, np.sin(tilt), np.cos(tilt)], dtype=torch.float64).view(1, 3, 1, 1)
    true = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert float(normal_errors(said, true)[0, 1]) == pytest.approx(1e-4, rel=1e-9)
    assert normal_errors(torch.zeros(1, 3, 1, 1), true)[0, :5].tolist() == [1.0, 90.0, 0.0, 0.0, 0.0]
    assert normal_errors(-true, true)[0, 1] == 180.0


def test_the_median_is_right_to_a_tenth_of_a_degree() -> None:
    rng = np.random.default_rng(0)
    for count in (1001, 1000, 7):
        angles = rng.beta(2, 8, count) * 180
        found = median_angle(np.histogram(angles, bins=1800, range=(0, 180))[0])
        middle = np.sort(angles)[(count - 1) // 2 : count // 2 + 1]
        assert middle[0] - 0.1 <= found <= middle[-1] + 0.1
    assert np.isnan(median_angle(np.zeros(1800)))


def test_labels_of_one_picture_are_too_few() -> None:
    counts = np.zeros((3, 2, 2), int)
    counts[0] = [[1, 2], [3, 4]]
    with pytest.raises(FusionBenchError, match="fewer than two pictures have labelled pixels"):
        mean_iou_scores(counts)
    with pytest.raises(FusionBenchError, match="fewer than two pictures"):
        pixel_mean_scores(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
