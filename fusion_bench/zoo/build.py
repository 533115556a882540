"""``fusion_bench zoo build clip_mini``: every stage, from packages to the folders that ship."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.console import Console

from fusion_bench.progress import Progress
from fusion_bench.zoo.corpus import Corpus
from fusion_bench.zoo.data import all_splits, make_concepts, make_corpus
from fusion_bench.zoo.licences import write_licences
from fusion_bench.zoo.models import Splits, make_base, make_experts
from fusion_bench.zoo.package import write_manifest, write_task
from fusion_bench.zoo.recipe import Recipe
from fusion_bench.zoo.sources import Sources
from fusion_bench.zoo.stages import Stages
from fusion_bench.zoo.tasks import BY_NAME
from fusion_bench.zoo.train import run_pretraining


def build(work: Path, out: Path, recipe: Recipe, console: Console, progress: Progress) -> None:
    """Build everything below ``work`` (resumable) and publish ``out/clip_mini`` and ``out/mini8``.

    Takes about two hours on two cores; each stage that is done is kept, and pretraining continues from its checkpoint.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread per worker: measured faster than threads inside one
    stages = Stages(work, console)
    sources = Sources(work / "sources")

    def fetch(done: Path) -> None:
        sources.fetch(progress)
        done.touch()

    stages.run("fetched", fetch)
    splits = all_splits(stages, recipe, sources, progress)
    corpus = make_corpus(stages, recipe, sources, splits, progress)
    train_all(stages, recipe, corpus, splits, progress)
    publish(stages, recipe, splits, sources, out)


def train_all(stages: Stages, recipe: Recipe, corpus: Corpus, splits: Splits, progress: Progress) -> None:
    """Pretraining, text alignment, experts and the joint model."""
    if not (stages.folder / "base").exists():
        validation = {task: (parts["validation"].images, parts["validation"].labels) for task, parts in splits.items()}
        concepts = make_concepts(corpus, splits)
        run_pretraining(stages.folder / "pretraining", recipe, concepts, validation, progress)
    make_base(stages, recipe, corpus, splits, progress)
    make_experts(stages, recipe, splits, progress)


def publish(stages: Stages, recipe: Recipe, splits: Splits, sources: Sources, out: Path) -> None:
    """Write both folders beside the old ones, then swap: an interrupted build leaves the old pool whole."""
    models, tasks = stages.folder / "publish" / recipe.name, stages.folder / "publish" / "mini8"
    shutil.rmtree(stages.folder / "publish", ignore_errors=True)
    shutil.copytree(stages.folder / "base", models)
    for path in sorted((stages.folder / "experts").glob("*.safetensors")):
        shutil.copy2(path, models / "models" / path.name)
    for name, parts in splits.items():
        write_task(tasks / name, BY_NAME[name], parts, training=recipe.shipped_training, seed=recipe.seed)
    write_licences(models, tasks, sources)
    command = f"fusion_bench zoo build {recipe.name}"
    write_manifest(models, name=recipe.name, created_by=command, seed=recipe.seed)
    write_manifest(tasks, name="mini8", created_by=command, seed=recipe.seed)
    for folder in (models, tasks):
        target = out / folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(folder), str(target))
    size = sum(p.stat().st_size for name in (recipe.name, "mini8") for p in (out / name).rglob("*") if p.is_file())
    stages.console.print(f"published {out / recipe.name} and {out / 'mini8'}: {size / 1e6:.1f} MB")
