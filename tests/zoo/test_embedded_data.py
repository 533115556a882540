"""What ships: sizes, splits without a shared group, no near-duplicate between them, licences, sums."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fusion_bench.datasets import Manifest, locate, open_split
from fusion_bench.zoo.splits import NEAR_DUPLICATE, nearest_correlation

TASKS = ("mnist", "fashion", "animals", "letters", "hangul", "radicals", "scripts", "artists")
SPLITS = ("train", "validation", "adaptation", "test")


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest):
    return request.param, {name: open_split(locate("package://mini8") / request.param, name) for name in SPLITS}


def pixels(split) -> np.ndarray:
    return np.stack([np.asarray(row["image"].convert("RGB")) for row in split.data])


def test_everything_is_under_64_mb_and_verifies() -> None:
    total = 0
    for pool in ("clip_mini", "mini8"):
        manifest = Manifest.read(f"package://{pool}")
        assert "LICENSES.md" in manifest.files
        for name in manifest.files:
            total += manifest.path(name).stat().st_size
        present = {p.relative_to(manifest.folder).as_posix() for p in manifest.folder.rglob("*") if p.is_file()}
        assert present == {*manifest.files, "manifest.json"}
    assert total < 64e6


def test_sizes_and_labels(task) -> None:
    name, splits = task
    record = json.loads((locate("package://mini8") / name / "task.json").read_text())
    assert splits["test"].size >= 1000
    assert splits["validation"].size >= 300
    assert splits["adaptation"].labels is None
    classes = set(range(len(record["classes"])))
    for split in ("train", "test"):
        assert set(splits[split].labels.tolist()) == classes
    # whole groups are dealt, so a class of few groups may miss the small validation split (Armenian, of 'scripts')
    assert len(classes - set(splits["validation"].labels.tolist())) <= 1


def test_no_group_is_in_two_splits(task) -> None:
    _, splits = task
    groups = [set(splits[name].clusters.tolist()) for name in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_no_near_duplicate_across_splits(task) -> None:
    _, splits = task
    images = {name: pixels(splits[name]) for name in SPLITS}
    for position, name in enumerate(SPLITS[1:], start=1):
        earlier = np.concatenate([images[other] for other in SPLITS[:position]])
        assert nearest_correlation(images[name], earlier).max() <= NEAR_DUPLICATE + 1e-4
