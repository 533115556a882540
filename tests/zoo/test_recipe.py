"""The whole recipe at toy size: from pictures to published folders that open and verify."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from fusion_bench.progress import silent
from fusion_bench.zoo.build import publish, train_all
from fusion_bench.zoo.corpus import Corpus
from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.pretrain import Schedule
from fusion_bench.zoo.recipe import FineTuning, Recipe, Tower
from fusion_bench.zoo.sources import DEBIAN, ICON_SETS, LATIN_FONTS, WORLD_FONTS, Sources
from fusion_bench.zoo.splits import SPLITS
from fusion_bench.zoo.stages import Stages

TASKS = ("mnist", "fashion")


def bars(n: int, classes: int, rng: np.random.Generator, *, upright: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one bar whose place is the class; upright or lying."""
    labels = rng.integers(classes, size=n)
    images = rng.integers(0, 30, size=(n, 32, 32, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] = 220
        if not upright:
            image[:] = image.transpose(1, 0, 2).copy()
    return images, labels


def toy_splits(rng: np.random.Generator) -> dict[str, dict[str, Pictures]]:
    splits: dict[str, dict[str, Pictures]] = {}
    for task, upright in zip(TASKS, (True, False), strict=True):
        names = tuple(f"class{i}" for i in range(4))
        splits[task] = {}
        for split in SPLITS:
            images, labels = bars(24, 4, rng, upright=upright)
            groups = np.array([f"{split}-{i}" for i in range(24)])
            splits[task][split] = Pictures(images, labels, groups, names)
    return splits


def toy_corpus(rng: np.random.Generator) -> Corpus:
    domains = np.array(["icon", "glyph", "chinese", "kana", "hangul", "latin", "clipart"] * 60)
    images, labels = bars(len(domains), 8, rng, upright=True)
    captions = np.array([f"{domain} {label}" for domain, label in zip(domains, labels, strict=True)])
    return Corpus(images, captions, domains)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Recipe]:
    folder = tmp_path_factory.mktemp("zoo")
    rng = np.random.default_rng(0)
    recipe = Recipe(
        tower=Tower(depths=(1, 1, 1, 1), dims=(8, 16, 16, 16), kernel_size=(3, 3, 3, 3), embed_dim=16),
        pretraining=Schedule(steps=6, batch=24, warmup=2),
        text_steps=5,
        fine_tuning=FineTuning(steps=30, batch=16, rate=3e-3, multitask=1.0),
        tasks=TASKS,
        workers=1,
    )
    stages = Stages(folder / "work", Console(quiet=True))
    splits = toy_splits(rng)
    train_all(stages, recipe, toy_corpus(rng), splits, silent)
    sources = Sources(folder / "sources")
    for name in ICON_SETS:
        sources.icon_set(name).mkdir(parents=True)
        (sources.icon_set(name) / "info.json").write_text('{"author": {"name": "A"}, "license": {"spdx": "MIT"}}')
    publish(stages, recipe, splits, sources, folder / "out")
    return folder / "work", folder / "out", recipe


def test_everything_is_published_and_the_manifest_is_true(built: tuple[Path, Path, Recipe]) -> None:
    _, out, _ = built
    for pool in ("clip_mini", "mini8"):
        manifest = json.loads((out / pool / "manifest.json").read_text())
        present = {p.relative_to(out / pool).as_posix() for p in (out / pool).rglob("*") if p.is_file()}
        assert present - {"manifest.json"} == set(manifest["files"])
        for name, entry in manifest["files"].items():
            assert hashlib.sha256((out / pool / name).read_bytes()).hexdigest() == entry["sha256"]
    for task in TASKS:
        assert {f"{task}/{split}.parquet" for split in ("train", "validation", "adaptation", "test")} <= {
            p.relative_to(out / "mini8").as_posix() for p in (out / "mini8").rglob("*.parquet")
        }


def test_adaptation_has_no_labels(built: tuple[Path, Path, Recipe]) -> None:
    from datasets import load_dataset

    _, out, _ = built
    data = {
        split: load_dataset(
            "parquet", data_files=str(out / f"mini8/mnist/{split}.parquet"), split="train", cache_dir=str(out / "cache")
        )
        for split in ("adaptation", "test")
    }
    assert "label" not in data["adaptation"].column_names
    assert data["test"].features["label"].names == [f"class{i}" for i in range(4)]
    assert data["test"][0]["image"].size == (32, 32)


def test_experts_differ_from_the_base_and_only_in_the_image_tower(built: tuple[Path, Path, Recipe]) -> None:
    from safetensors.torch import load_file

    _, out, _ = built
    base = load_file(out / "clip_mini" / "models" / "base.safetensors")
    for name in (*TASKS, "multitask"):
        expert = load_file(out / "clip_mini" / "models" / f"{name}.safetensors")
        assert set(expert) == {key for key in base if key.startswith("visual.")}
        assert any(not torch.equal(expert[key], base[key]) for key in expert)
        assert all(value.dtype == torch.float16 for value in expert.values())


def test_a_second_build_resumes_and_changes_nothing(built: tuple[Path, Path, Recipe]) -> None:
    work, _, recipe = built
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}
    rng = np.random.default_rng(0)
    splits = toy_splits(rng)
    train_all(Stages(work, Console(quiet=True)), recipe, toy_corpus(rng), splits, silent)
    assert before == {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}


def test_package_names_are_whole_and_listed_once():
    names = [*DEBIAN, *LATIN_FONTS, *WORLD_FONTS]
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []
    assert len(set(names)) == len(names)
