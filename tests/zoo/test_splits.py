"""Splits share no group, and no near-duplicate survives between them."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.splits import (
    HELD_OUT,
    NEAR_DUPLICATE,
    drop_near_duplicates,
    nearest_correlation,
    share_no_group,
    split_by_group,
)

SIZES = {"test": 30, "validation": 15, "adaptation": 15}


def pictures(n: int = 200, groups: int = 50, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    return Pictures(
        rng.integers(0, 256, size=(n, 32, 32, 3)).astype(np.uint8),
        rng.integers(4, size=n),
        np.array([f"g{i}" for i in rng.integers(groups, size=n)]),
        ("a", "b", "c", "d"),
    )


def test_groups_stay_together_and_every_split_has_its_size() -> None:
    splits = split_by_group(pictures(), SIZES, shots=2, seed=0)
    assert share_no_group(splits)
    for name in HELD_OUT:
        assert SIZES[name] <= len(splits[name]) < SIZES[name] + 12
    assert np.bincount(splits["shots"].labels, minlength=4).tolist() == [2, 2, 2, 2]


def test_the_check_itself_can_fail() -> None:
    splits = split_by_group(pictures(), SIZES, shots=2, seed=0)
    leaked = {**splits, "train": splits["test"]}
    assert not share_no_group(leaked)


def test_splits_depend_on_the_seed_only() -> None:
    first = split_by_group(pictures(), SIZES, shots=2, seed=0)
    again = split_by_group(pictures(), SIZES, shots=2, seed=0)
    other = split_by_group(pictures(), SIZES, shots=2, seed=1)
    assert np.array_equal(first["test"].images, again["test"].images)
    assert set(first["test"].groups) != set(other["test"].groups)


def test_official_test_images_stay_in_the_test_split() -> None:
    data = pictures(groups=200)
    names = np.array([("test-" if i % 3 == 0 else "train-") + str(i) for i in range(len(data))])
    splits = split_by_group(
        Pictures(data.images, data.labels, names, data.classes), SIZES, shots=2, seed=0, official_test=True
    )
    assert all(g.startswith("test-") for g in splits["test"].groups)
    assert not any(
        g.startswith("test-") for name in ("train", "shots", "validation", "adaptation") for g in splits[name].groups
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_planted_near_duplicate_is_found_and_dropped(mirrored: bool) -> None:
    splits = split_by_group(pictures(), SIZES, shots=2, seed=0)
    copy = splits["train"].images[0].astype(np.int64)
    noisy = np.clip(copy + np.random.default_rng(1).integers(-6, 7, size=copy.shape), 0, 255).astype(np.uint8)
    test = splits["test"]
    images = test.images.copy()
    images[3] = noisy[:, ::-1] if mirrored else noisy
    splits["test"] = Pictures(images, test.labels, test.groups, test.classes)
    kept, dropped = drop_near_duplicates(splits)
    assert dropped["test"] == 1
    assert len(kept["test"]) == len(test) - 1
    assert nearest_correlation(kept["test"].images, kept["train"].images).max() <= NEAR_DUPLICATE
