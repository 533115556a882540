"""Experts of dense prediction that are trained here: on planted scenes they learn their task, and only theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import build as built
from fusion_bench.registry import load_algorithm
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.zoo.dense import LOSSES, Training, build, mirrored
from tests.helpers.tiny_dense import ENCODER, scenes, write_models, write_scenes

TASKS = ("segmentation", "normal")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(root))
        write_models(root)
        write_scenes(root / "own" / "rooms", {"train": 40, "val": 12})
        shared = {"data": "own/rooms", "splits": {"test": "val"}, "held_out": {"validation": 0.1}}
        tasks = {task: {**shared, "kind": task, "column": task} for task in TASKS}
        tasks["segmentation"]["classes"] = ["red", "green", "blue"]
        experts = {task: str(root / "experts" / task) for task in TASKS}
        pools = {
            "modelpool/mine": {
                "type": "dense_resnet", "base": str(root / "base"), "experts": experts, "encoder": ENCODER,
                "taskpools": ["rooms"],
            },
            "taskpool/rooms": {"type": "dense_prediction", "tasks": tasks},
            "modelpool/homeless": {
                "type": "dense_resnet", "base": str(root / "base"), "experts": experts, "encoder": ENCODER
            },
        }  # fmt: skip
        for name, fields in pools.items():
            path = root / "config" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(fields))
        yield root / "config"


def test_trained_experts_are_better_than_their_base_at_their_own_task(config: Path) -> None:
    told: list[tuple[str, int, int]] = []
    settings = Training(steps=30, batch=4, rate=1e-3)
    out = config.parent / "experts"
    build(out, pool="mine", settings=settings, config_dir=config, progress=lambda *said: told.append(said))
    assert {told_of for told_of in told if told_of[1] == told_of[2]} == {(f"train {task}", 30, 30) for task in TASKS}
    pool = built("modelpool", "mine", config_dir=config)
    adapters = built("taskpool", "rooms", config_dir=config).bind(pool)
    before = {task: evaluate(pool.model("base"), adapters, tasks=[task])[task] for task in TASKS}
    after = {task: evaluate(pool.model(task), adapters, tasks=[task])[task] for task in TASKS}
    assert after["segmentation"].value > max(0.6, before["segmentation"].value + 0.2)
    assert after["normal"].extra["mean_angle"] < min(50, before["normal"].extra["mean_angle"])  # 54.7: of no use
    merged = evaluate(load_algorithm("simple_average").run(pool), adapters)
    assert all(0 <= merged[task].value <= 1 for task in TASKS)

    written = {task: (out / task / "model.safetensors").stat().st_mtime_ns for task in TASKS}
    build(out, pool="mine", settings=settings, config_dir=config)  # what is there is kept
    assert {task: (out / task / "model.safetensors").stat().st_mtime_ns for task in TASKS} == written


def test_losses_ignore_what_has_no_label() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[:, :2] = -1
    upper = torch.nn.functional.cross_entropy(maps[:, :, 2:], labels[:, 2:])
    assert torch.allclose(LOSSES["segmentation"](maps, labels, -1), upper)
    metres = torch.rand(2, 1, 4, 4) + 0.5
    metres[:, :, :2] = 0
    off = LOSSES["depth"](maps[:, :1], metres, -1)
    assert torch.allclose(off, (maps[:, :1, 2:] - metres[:, :, 2:]).abs().mean())
    normals = torch.zeros(2, 3, 4, 4)
    normals[:, 0, 2:] = 1.0
    assert float(LOSSES["normal"](normals * 5 + 0.0, normals, -1)) == pytest.approx(0)
    assert float(LOSSES["normal"](-normals + 0.0, normals, -1)) == pytest.approx(2)


def test_a_picture_in_a_mirror_has_mirrored_maps() -> None:
    made = scenes(2, seed=3)
    images = torch.from_numpy(made["image"])
    for kind in ("segmentation", "depth", "normal"):
        truth = torch.from_numpy(made[kind])
        once = mirrored(images, truth, kind=kind)
        assert not torch.equal(once[1], truth)
        twice = mirrored(*once, kind=kind)
        assert torch.equal(twice[0], images)
        assert torch.equal(twice[1], truth)
    assert torch.equal(
        mirrored(images, torch.from_numpy(made["normal"]), kind="normal")[1][:, 1:],
        torch.from_numpy(made["normal"])[:, 1:].flip(-1),
    )


def test_pools_that_the_recipe_cannot_make(config: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="'homeless' names no task pool"):
        build(tmp_path, pool="homeless", config_dir=config)
    with pytest.raises(FusionBenchError, match="'clip_mini' is no dense_resnet"):
        build(tmp_path, pool="clip_mini")
    assert not list(tmp_path.iterdir())
