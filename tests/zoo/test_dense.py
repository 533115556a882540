"""Experts of dense prediction that are trained here: on planted scenes they learn their task, and only theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import build as built
from fusion_bench.registry import load_algorithm
from fusion_bench.taskpools.dense import DenseExamples, DenseTaskConfig
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.zoo.dense import MAKING, loss, mirrored, train
from fusion_bench.zoo.made import How, Training, build
from tests.helpers.tiny_dense import CHANNELS, ENCODER, SIZE, scenes, write_models, write_scenes

TASKS = ("segmentation", "normal")  # through a pool; depth, of which few steps of a wide head learn little, by itself


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
                "rates": [1], "taskpools": ["rooms"],
            },
            "taskpool/rooms": {"type": "dense_prediction", "tasks": tasks},
        }  # fmt: skip
        for name, fields in pools.items():
            path = root / "config" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(fields))
        yield root / "config"


def test_trained_experts_are_better_than_their_base_at_their_own_task(config: Path) -> None:
    told: list[tuple[str, int, int]] = []
    settings = Training(steps=60, batch=4, rate=1e-3)  # whatever the seed and the rounding: 33° to 43° of normals
    build(MAKING, "mine", settings=settings, config_dir=config, progress=lambda *said: told.append(said))
    assert {told_of for told_of in told if told_of[1] == told_of[2]} == {(f"train {task}", 60, 60) for task in TASKS}
    pool = built("modelpool", "mine", config_dir=config)
    adapters = built("taskpool", "rooms", config_dir=config).bind(pool)
    before = {task: evaluate(pool.model("base"), adapters, tasks=[task])[task] for task in TASKS}
    after = {task: evaluate(pool.model(task), adapters, tasks=[task])[task] for task in TASKS}
    assert after["segmentation"].value > max(0.6, before["segmentation"].value + 0.2)
    assert after["normal"].extra["mean_angle"] < min(50, before["normal"].extra["mean_angle"])  # 54.7: of no use
    merged = evaluate(load_algorithm("simple_average").run(pool), adapters)
    assert all(0 <= merged[task].value <= 1 for task in TASKS)


class Rooms(DenseExamples):
    """Scenes in memory."""

    def __init__(self, kind: Any, arrays: dict[str, np.ndarray]) -> None:
        classes = ("red", "green", "blue") if kind == "segmentation" else None
        config = DenseTaskConfig(data="rooms", kind=kind, column=kind, classes=classes)
        super().__init__(kind, config, (0.0,) * 3, (1.0,) * 3, batch=8)
        self._arrays = arrays

    def examples(self, split: str) -> Iterator[dict[str, torch.Tensor]]:
        yield {"images": torch.from_numpy(self._arrays["image"]), "truth": torch.from_numpy(self._arrays[self.task])}


def small(channels: int = 1) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU()), nn.Conv2d(16, channels, 1)


def test_depth_is_learned_to_more_than_its_median() -> None:
    settings = Training(steps=400, batch=4, rate=0.03)
    encoder, head = train(*small(), Rooms("depth", scenes(40, seed=0)), How(settings))
    unseen = scenes(12, seed=1)
    metres = torch.from_numpy(unseen["depth"])
    known = metres > 0
    with torch.no_grad():
        error = (head(encoder(torch.from_numpy(unseen["image"]))) - metres).abs()[known].mean()
    constant = (metres[known] - metres[known].median()).abs().mean()
    assert float(error) < 0.2 < 0.7 < float(constant)


def test_losses_ignore_what_has_no_label() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[:, :2] = 255
    upper = torch.nn.functional.cross_entropy(maps[:, :, 2:], labels[:, 2:])
    assert torch.allclose(loss(maps, labels, kind="segmentation", void=255), upper)
    metres = torch.rand(2, 1, 4, 4) + 0.5
    metres[:, :, :2] = 0
    off = loss(maps[:, :1], metres, kind="depth", void=-1)
    assert torch.allclose(off, (maps[:, :1, 2:] - metres[:, :, 2:]).abs().mean())
    assert torch.equal(loss(maps[:, :1], metres.squeeze(1), kind="depth", void=-1), off)
    normals = torch.zeros(2, 3, 4, 4)
    normals[:, 0, 2:] = 1.0
    assert float(loss(normals * 5 + 0.0, normals, kind="normal", void=-1)) == pytest.approx(0)
    assert float(loss(-normals + 0.0, normals, kind="normal", void=-1)) == pytest.approx(2)


@pytest.mark.parametrize("kind", CHANNELS)
def test_of_a_batch_without_a_label_nothing_is_learned(kind: str) -> None:
    arrays = scenes(2, seed=0)
    arrays[kind] = np.full_like(arrays[kind], -1 if kind == "segmentation" else 0)
    void = torch.from_numpy(arrays[kind])
    assert float(loss(torch.randn(2, CHANNELS[kind], *SIZE), void, kind=kind, void=-1)) == 0
    with pytest.raises(FusionBenchError, match=f"training '{kind}': no pixel of rooms has a label"):
        train(*small(CHANNELS[kind]), Rooms(kind, arrays), How(Training(steps=1, batch=1, rate=0.1)))
    arrays = {name: np.concatenate([array] * 2) for name, array in arrays.items()}
    arrays[kind][3] = scenes(1, seed=0)[kind][0]  # one of four has labels
    drawn = [np.random.default_rng([0, step]).integers(4) for step in range(8)]
    taken: list[object] = []
    hook = register_optimizer_step_post_hook(lambda *of: taken.append(of))
    _, head = train(*small(CHANNELS[kind]), Rooms(kind, arrays), How(Training(steps=8, batch=1, rate=0.1)))
    hook.remove()
    assert len(taken) == drawn.count(3)
    assert 0 < len(taken) < 8
    assert all(parameter.isfinite().all() for parameter in head.parameters())


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    arrays = scenes(4, seed=0)
    arrays["image"] = np.full_like(arrays["image"], 3e38)
    with pytest.raises(FusionBenchError, match=r"training 'depth': the loss of step 1 of 5 is (inf|nan)") as caught:
        train(*small(), Rooms("depth", arrays), How(Training(steps=5, batch=2, rate=0.5)))
    assert "0.5" in str(caught.value.hint)


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
