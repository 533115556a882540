"""Image classifiers that are trained here, from tiny bases in transformers' formats, on planted classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fusion_bench import registry
from fusion_bench.registry import build as built
from fusion_bench.registry import load_algorithm
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.zoo.classifiers import MAKING, RECIPES, Training
from fusion_bench.zoo.made import build

LABELS = {"circles": 3, "stripes": 2}


def write_base(folder: Path, kind: str) -> None:
    from transformers import AutoModel, AutoModelForImageClassification, BitImageProcessor, Dinov2Config, ResNetConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "resnet":
            config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic")
            model: Any = AutoModelForImageClassification.from_config(config)
        else:  # as published: a bare backbone
            tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
            model = AutoModel.from_config(Dinov2Config(**tower, patch_size=8, image_size=32))
        model.save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    BitImageProcessor(**size, image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(folder)


@pytest.fixture(params=["resnet", "dinov2"])
def config(request: pytest.FixtureRequest, toy_assets: Path, tmp_path: Path) -> Path:
    write_base(tmp_path / "base", request.param)
    experts = {task: str(tmp_path / "experts" / task) for task in LABELS}
    pools = {
        "modelpool/mine": {
            "type": "hf_image_classifier", "base": str(tmp_path / "base"), "experts": experts, "taskpools": ["tasks"]
        },
        "taskpool/tasks": {
            "type": "image_classification", "path": str(toy_assets / "tasks_toy"), "tasks": list(LABELS)
        },
    }  # fmt: skip
    for name, fields in pools.items():
        path = tmp_path / "config" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(fields))
    return tmp_path / "config"


def test_trained_classifiers_know_their_task_and_go_through_the_pool(config: Path) -> None:
    told: list[tuple[str, int, int]] = []
    settings = Training(steps=60, batch=16, optimiser="adamw", rate=3e-3)
    build(MAKING, "mine", settings=settings, config_dir=config, progress=lambda *said: told.append(said))
    assert {of for of in told if of[1] == of[2]} == {(f"train {task}", 60, 60) for task in LABELS}
    pool, tasks = built("modelpool", "mine", config_dir=config), built("taskpool", "tasks", config_dir=config)
    adapters = tasks.bind(pool)
    for task, classes in LABELS.items():
        assert pool.head_labels(task) == adapters[task].classes
        own = evaluate(pool.model(task), adapters, tasks=[task])[task].value
        other = next(name for name in LABELS if name != task)
        foreign = evaluate(pool.model(other), adapters, tasks=[task])[task].value  # through the same head
        assert own > 1.5 / classes, (task, own)
        assert own >= foreign, (task, own, foreign)  # by some seeds the other's features tell all as well
    merged = evaluate(load_algorithm("simple_average").run(pool), adapters)
    assert set(merged) == set(LABELS)


def test_the_same_seed_makes_the_same_expert(config: Path) -> None:
    from safetensors.torch import load_file

    made = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = Training(steps=2, batch=4, rate=0.01)
        build(MAKING, "mine", config.parent / out, settings=settings, seed=seed, config_dir=config)
        made.append(load_file(config.parent / out / "circles" / "model.safetensors"))
    assert all(torch.equal(tensor, made[1][name]) for name, tensor in made[0].items())
    assert any(not torch.equal(tensor, made[2][name]) for name, tensor in made[0].items())


def test_every_recipe_has_a_pool_of_the_tasks_that_it_is_trained_on() -> None:
    for name in RECIPES:
        fields = registry.read_config("modelpool", name)
        assert list(fields["experts"]) == registry.read_config("taskpool", fields["taskpools"][0])["tasks"]
