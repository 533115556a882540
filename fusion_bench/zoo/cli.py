"""The command ``fusion_bench zoo``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError, unknown_name

TEXT_RECIPE = "minilm_lora"
DENSE_RECIPE = "nyuv2_resnet50"
CLASSIFIERS = ("resnet50_ta8", "dinov2_base_ta8")
RECIPES = ("clip_mini", TEXT_RECIPE, DENSE_RECIPE, *CLASSIFIERS)


def main(arguments: Sequence[str]) -> int:
    """Parse ``build NAME …`` and run it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="fusion_bench zoo",
        description="Build a pool from its sources. Stages that are done are kept: run again to resume.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="fetch the sources, train, and write the pool")
    build.add_argument("name", help=f"one of: {', '.join(RECIPES)}")
    build.add_argument(
        "--work", type=Path, default=Path("outputs/zoo"), help="folder of the stages (default: %(default)s)"
    )
    build.add_argument(
        "--out", type=Path, default=Path("outputs/assets"), help="where the pools are written (default: %(default)s)"
    )
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    build.add_argument(
        "--steps",
        type=int,
        help="pretraining steps (clip_mini) or steps of an expert (the others), instead of the recipe's",
    )
    room = commands.add_parser("headroom", help="print, from the newest runs, what docs/clip_mini.md shows")
    room.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: as for the bench)")
    room.add_argument("--experiment", default="clip_mini/mini8", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.command == "headroom":
        return _headroom(options)
    if options.name not in RECIPES:
        raise unknown_name("recipe", options.name, RECIPES)
    builders = {TEXT_RECIPE: _build_texts, DENSE_RECIPE: _build_dense, **dict.fromkeys(CLASSIFIERS, _build_classifiers)}
    return builders.get(options.name, _build_pictures)(options)


def _build_pictures(options: argparse.Namespace) -> int:
    _require("fontTools", "resvg_py")
    from rich.console import Console

    from fusion_bench.zoo.bars import bars
    from fusion_bench.zoo.build import build
    from fusion_bench.zoo.recipe import Recipe

    recipe = Recipe(name=options.name, seed=options.seed, workers=options.workers)
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, pretraining=dataclasses.replace(recipe.pretraining, steps=options.steps))
    console = Console(stderr=True)
    build(options.work, options.out, recipe, console, bars(console))
    return 0


def _build_texts(options: argparse.Namespace) -> int:
    _require("peft")
    from rich.console import Console

    from fusion_bench.zoo.bars import bars
    from fusion_bench.zoo.minilm import TextRecipe, build

    recipe = TextRecipe(seed=options.seed, workers=options.workers)
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, steps=options.steps)
    console = Console(stderr=True)
    build(options.work / TEXT_RECIPE, options.out, recipe, console, bars(console))
    return 0


def _build_dense(options: argparse.Namespace) -> int:
    from fusion_bench.zoo.bars import bars
    from fusion_bench.zoo.dense import Training, build

    settings = Training() if options.steps is None else Training(steps=options.steps)
    build(options.out, pool=DENSE_RECIPE, settings=settings, seed=options.seed, progress=bars())
    return 0


def _build_classifiers(options: argparse.Namespace) -> int:
    from fusion_bench.zoo.bars import bars
    from fusion_bench.zoo.classifiers import RECIPES as settings_of
    from fusion_bench.zoo.classifiers import build

    settings = settings_of[options.name]
    if options.steps is not None:
        settings = dataclasses.replace(settings, steps=options.steps)
    build(options.out, pool=options.name, settings=settings, seed=options.seed, progress=bars())
    return 0


def _require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise FusionBenchError(f"the recipes need {module}", hint='pip install "fusion-bench-suite[zoo]"')


def _headroom(options: argparse.Namespace) -> int:
    from fusion_bench.tracking import Store, locate_store
    from fusion_bench.zoo.headroom import markdown, newest_predictions

    found = newest_predictions(Store(locate_store(options.tracking_uri)), options.experiment)
    print(markdown(found), end="")
    return 0
