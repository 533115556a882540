"""The stages that make data: fetch, read the tasks, split them, gather the corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fusion_bench.progress import Progress
from fusion_bench.zoo.concepts import Concepts, build_concepts
from fusion_bench.zoo.corpus import PARTS, Corpus, build_part, joined
from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.readers import family_group, latin_faces
from fusion_bench.zoo.recipe import Recipe
from fusion_bench.zoo.sources import Sources
from fusion_bench.zoo.splits import SPLITS, drop_near_duplicates, share_no_group, split_by_group
from fusion_bench.zoo.stages import Stages
from fusion_bench.zoo.tasks import BY_NAME, TaskRecipe, read_task


def make_splits(stages: Stages, recipe: Recipe, sources: Sources, task: TaskRecipe) -> dict[str, Pictures]:
    """The splits of one task, read, dealt and cleaned once."""
    raw = stages.run(f"tasks/{task.name}.npz", lambda out: _write(out, read_task(task.name, sources, recipe.seed)))

    def deal(out: Path) -> None:
        sizes = {"test": task.test, "validation": recipe.held_out, "adaptation": recipe.adaptation}
        pictures = Pictures.load(raw)
        dealt = split_by_group(pictures, sizes, shots=recipe.shots, seed=recipe.seed, official_test=task.official_test)
        if not share_no_group(dealt):
            raise AssertionError(f"a group of {task.name} is in two splits")  # a bug of ours, not of the user
        kept, dropped = drop_near_duplicates(dealt)
        out.mkdir(parents=True, exist_ok=True)
        for name, part in kept.items():
            part.save(out / f"{name}.npz")
        (out / "dropped.json").write_text(json.dumps(dropped))

    folder = stages.run(f"splits/{task.name}", deal)
    return {name: Pictures.load(folder / f"{name}.npz") for name in SPLITS}


def make_corpus(
    stages: Stages, recipe: Recipe, sources: Sources, splits: dict[str, dict[str, Pictures]], progress: Progress
) -> Corpus:
    """The corpus without anything that nearly repeats a validation or test picture of a task."""
    families = set(splits["letters"]["train"].groups.tolist())

    def part(name: str) -> Callable[[Path], None]:
        def make(out: Path) -> None:
            latin = [f for f in latin_faces(sources) if family_group(f.family) in families] if name == "latin" else []
            _write(out, build_part(name, sources, latin, recipe.seed))

        return make

    parts = []
    for done, name in enumerate(PARTS):
        progress("corpus", done, len(PARTS))
        parts.append(stages.run(f"corpus/{name}.npz", part(name)))
    progress("corpus", len(PARTS), len(PARTS))

    def join(out: Path) -> None:
        held_out = np.concatenate([s[name].images for s in splits.values() for name in ("validation", "test")])
        whole, dropped = joined([Corpus.load(path) for path in parts], held_out)
        stages.console.print(
            f"corpus: {len(whole.images)} pictures, {dropped} near-duplicates of held-out ones dropped"
        )
        _write(out, whole)

    return Corpus.load(stages.run("corpus.npz", join))


def make_concepts(corpus: Corpus, splits: Mapping[str, Mapping[str, Pictures]]) -> Concepts:
    return build_concepts(corpus, {task: parts["shots"] for task, parts in splits.items()})


def all_splits(stages: Stages, recipe: Recipe, sources: Sources, progress: Progress) -> dict[str, dict[str, Pictures]]:
    found = {}
    for done, name in enumerate(recipe.tasks):
        progress("tasks", done, len(recipe.tasks))
        found[name] = make_splits(stages, recipe, sources, BY_NAME[name])
    progress("tasks", len(recipe.tasks), len(recipe.tasks))
    return found


def _write(path: Path, data: Pictures | Corpus) -> None:
    with path.open("wb") as file:
        data.save(file)
