"""Corrupted test pictures: which example is what, made once, the same in any order and process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_bench import load_modelpool, load_taskpool
from fusion_bench.datasets import corruption
from fusion_bench.datasets.corruption import COMMON, corrupt, corrupt_all
from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.zero_shot import corrupted

needs_library = pytest.mark.skipif(corruption.unavailable() is not None, reason=str(corruption.unavailable()))
NAMES, SEVERITIES = ["gaussian_noise", "pixelate"], [1, 4]


def task_pool(assets: Path, tasks: tuple[str, ...] = ("circles", "stripes"), **changes: object):
    options = {"names": NAMES, "severities": SEVERITIES, "seed": 0, **changes}
    source = {"type": "zero_shot_classification", "path": str(assets / "tasks_toy"), "tasks": list(tasks)}
    return load_taskpool({**source, "corruptions": options})


@pytest.fixture(scope="module")
def models(toy_assets: Path):
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


@pytest.fixture
def plain(toy_assets: Path, models):
    source = {"type": "zero_shot_classification", "path": str(toy_assets / "tasks_toy")}
    return load_taskpool({**source, "tasks": ["circles", "stripes"]}).bind(models)


@pytest.fixture
def adapters(toy_assets: Path, models):
    return task_pool(toy_assets).bind(models)


@needs_library
def test_the_test_split_is_every_picture_under_every_condition(adapters, plain) -> None:
    for task, adapter in adapters.items():
        n = plain[task].size("test")
        assert adapter.size("test") == 4 * n
        assert adapter.labels("test").tolist() == plain[task].labels("test").tolist() * 4
        assert adapter.clusters("test").tolist() == plain[task].clusters("test").tolist() * 4
        expected = [f"{name}/{severity}" for name in NAMES for severity in SEVERITIES for _ in range(n)]
        assert adapter.conditions("test").tolist() == expected
        assert sum(len(batch) for batch in adapter.inputs("test")) == 4 * n


@needs_library
def test_an_example_is_its_picture_corrupted_as_its_condition_says(adapters, plain, models) -> None:
    adapter, n = adapters["stripes"], plain["stripes"].size("test")
    inputs = torch.cat(list(adapter.inputs("test")))
    for index in (0, 5, n + 3, 3 * n + 7):
        name, severity = str(adapter.conditions("test")[index]).split("/")
        clean = np.asarray(plain["stripes"].picture("test", index % n).convert("RGB"))
        expected = corrupt(clean, name, int(severity), key=(0, "stripes", "test", index % n))
        assert np.array_equal(np.asarray(adapter.picture("test", index)), expected)
        standardised = (torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255 - 0.3) / 0.4
        assert torch.allclose(inputs[index], standardised)


@needs_library
@pytest.mark.parametrize("split", ["train", "validation", "adaptation", "clean"])
def test_every_other_split_is_as_it_was(adapters, plain, split: str) -> None:
    source = "test" if split == "clean" else split
    adapter, other = adapters["circles"], plain["circles"]
    assert torch.equal(torch.cat(list(adapter.inputs(split))), torch.cat(list(other.inputs(source))))
    assert adapter.data_hash(split) == other.data_hash(source)
    assert adapter.clusters(split).tolist() == other.clusters(source).tolist()
    assert adapter.conditions(split) is other.conditions(source) is None
    assert np.array_equal(np.asarray(adapter.picture(split, 2)), np.asarray(other.picture(source, 2)))
    with pytest.raises(FusionBenchError, match="counted from 0"):
        adapter.picture(split, other.size(source))
    if split != "adaptation":
        assert torch.equal(adapter.labels(split), other.labels(source))


def digest(adapter) -> str:
    """Of the pixels that a model gets, condition by condition in the order of their names."""
    conditions, inputs = adapter.conditions("test"), torch.cat(list(adapter.inputs("test")))
    found = hashlib.sha256()
    for name in sorted(set(conditions.tolist())):
        found.update(inputs[torch.from_numpy(conditions == name)].contiguous().numpy().tobytes())
    return found.hexdigest()


@needs_library
def test_order_does_not_matter(toy_assets: Path, models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither that of tasks, nor that of names and severities, nor what is evaluated first."""
    first = task_pool(toy_assets).bind(models)
    expected = {task: digest(first[task]) for task in ("circles", "stripes")}
    monkeypatch.setenv("FUSION_BENCH_CACHE", str(tmp_path))  # nothing is found there: all is made again
    second = task_pool(toy_assets, ("stripes", "circles"), names=NAMES[::-1], severities=SEVERITIES[::-1]).bind(models)
    assert {task: digest(second[task]) for task in ("stripes", "circles")} == expected


@needs_library
def test_another_process_makes_the_same_pictures(toy_assets: Path, models, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from fusion_bench import load_modelpool\n"
        "from tests.taskpools.test_corrupted import digest, task_pool\n"
        "assets = Path(sys.argv[1])\n"
        "models = load_modelpool({'type': 'embedded_clip', 'path': str(assets / 'models_toy')})\n"
        "print(digest(task_pool(assets).bind(models)['stripes']))\n"
    )
    import os

    done = subprocess.run(
        [sys.executable, "-c", code, str(toy_assets)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "FUSION_BENCH_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest(task_pool(toy_assets).bind(models)["stripes"])


@needs_library
def test_pictures_are_made_once_and_shared_by_pools_that_share_a_condition(
    toy_assets: Path, models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FUSION_BENCH_CACHE", str(tmp_path))
    made = []

    def counted(images: np.ndarray, name: str, severity: int, out: np.ndarray, *, key: tuple) -> None:
        made.append((key[1], name, severity))
        corrupt_all(images, name, severity, out, key=key)

    monkeypatch.setattr(corrupted, "corrupt_all", counted)
    for adapter in task_pool(toy_assets).bind(models).values():
        list(adapter.inputs("test"))
    assert sorted(made) == sorted((t, n, s) for t in ("circles", "stripes") for n in NAMES for s in SEVERITIES)
    for severities in (SEVERITIES, [4]):
        for adapter in task_pool(toy_assets, severities=severities).bind(models).values():
            list(adapter.inputs("test"))
            adapter.picture("test", 1)
    assert len(made) == 8
    list(task_pool(toy_assets, seed=1).bind(models)["circles"].inputs("test"))
    assert len(made) == 12


@needs_library
@pytest.mark.parametrize("change", [{"names": ["pixelate"]}, {"severities": [2]}, {"seed": 1}, "version"])
def test_hashes_name_everything_the_pixels_depend_on(
    toy_assets: Path, models, change: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashes(**changes: object) -> tuple[str, str]:
        pool = task_pool(toy_assets, **changes)
        return pool.content_hash(), pool.bind(models)["circles"].data_hash("test")

    before = hashes()
    assert before == hashes()
    if change == "version":
        monkeypatch.setattr(corrupted, "versions", lambda: {"imagecorruptions-imaug": "9.9"})
        change = {}
    assert all(a != b for a, b in zip(before, hashes(**change), strict=True))  # type: ignore[arg-type]


@needs_library
def test_what_was_done_is_recorded(toy_assets: Path) -> None:
    from importlib.metadata import version

    facts = task_pool(toy_assets).facts()["corruptions"]
    assert facts["names"] == NAMES
    assert facts["severities"] == SEVERITIES
    assert facts["libraries"]["imagecorruptions-imaug"] == version("imagecorruptions-imaug")


@needs_library
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["fogg"]}, "did you mean 'fog'"),
        ({"names": []}, "at least 1 item"),
        ({"names": ["fog", "fog"]}, "twice"),
        ({"severities": [0]}, "greater than or equal to 1"),
        ({"severities": [6]}, "less than or equal to 5"),
        ({"severity": 1}, "did you mean 'severities'"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_corruptions_that_make_no_sense_are_refused(toy_assets: Path, changes: dict, message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        task_pool(toy_assets, **changes)


def test_without_the_library_the_pool_is_refused_before_work(toy_assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(FusionBenchError, match=r"fusion-bench-suite\[robustness\]"):
        task_pool(toy_assets)


@needs_library
def test_a_model_for_smaller_pictures_is_refused(toy_assets: Path, models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "image_size", 28)
    with pytest.raises(FusionBenchError, match="28 pixels a side are too small"):
        task_pool(toy_assets).bind(models)


@needs_library
def test_the_real_base_does_worse_the_stronger_the_corruption() -> None:
    """The pretrained model of the embedded pool, on the first 96 test pictures of three tasks, every corruption."""
    models = load_modelpool("clip_mini")
    adapters = load_taskpool("mini8").bind(models)
    base, mean, std = models.model("base"), torch.tensor(models.mean), torch.tensor(models.std)
    correct: dict[int, list[bool]] = {severity: [] for severity in (0, 1, 3, 5)}
    for task in ("mnist", "letters", "fashion"):
        adapter = adapters[task]
        clean = np.stack([np.asarray(adapter.picture("test", i).convert("RGB")).transpose(2, 0, 1) for i in range(96)])
        labels = adapter.labels("test")[:96]
        for severity in correct:
            for name in COMMON if severity else ["clean"]:
                images = clean.copy()
                if severity:
                    corrupt_all(clean, name, severity, images, key=(0, task))
                pixels = (torch.from_numpy(images).float() / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
                with torch.inference_mode():
                    found = adapter.logits(base, pixels.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
                correct[severity] += (found == labels).tolist()
    accuracy = {severity: float(np.mean(found)) for severity, found in correct.items()}
    assert accuracy[0] - accuracy[1] > 0.1
    assert accuracy[1] - accuracy[3] > 0.1
    assert accuracy[3] - accuracy[5] > 0.05
