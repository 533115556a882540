"""The command ``fusion_bench zoo``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError, unknown_name

TEXT_RECIPE = "minilm_lora"
EXPERTS = ("nyuv2_resnet50", "resnet50_ta8", "dinov2_base_ta8")
"""Of pools whose base is published: their experts alone are made, one after the other."""
RECIPES = ("clip_mini", TEXT_RECIPE, *EXPERTS)
_WORK, _OUT, _WORKERS = Path("outputs/zoo"), Path("outputs/assets"), 2


def main(arguments: Sequence[str]) -> int:
    """Parse ``build NAME …`` and run it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="fusion_bench zoo",
        description="Build a pool from its sources. Stages that are done are kept: run again to resume.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="fetch the sources, train, and write the pool")
    build.add_argument("name", help=f"one of: {', '.join(RECIPES)}")
    embedded = f"clip_mini, {TEXT_RECIPE}"
    build.add_argument("--work", type=Path, help=f"folder of the stages ({embedded}; default: {_WORK})")
    build.add_argument(
        "--out", type=Path, help=f"what is made (default: {_OUT}; of the others, where their pool looks for experts)"
    )
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--workers", type=int, help=f"processes, one thread each ({embedded}; default: {_WORKERS})")
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
    for name in ("steps", "workers"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise FusionBenchError(f"--{name} {number}", hint="a number from 1 on")
    if options.seed < 0:
        raise FusionBenchError(f"--seed {options.seed}", hint="a number from 0 on")
    if options.name in EXPERTS:
        return _build_experts(options)
    options.work, options.out = options.work or _WORK, options.out or _OUT
    options.workers = options.workers or _WORKERS
    return _build_texts(options) if options.name == TEXT_RECIPE else _build_pictures(options)


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


def _build_experts(options: argparse.Namespace) -> int:
    for name in ("work", "workers"):
        if getattr(options, name) is not None:
            raise FusionBenchError(
                f"{options.name} takes no --{name}: its experts are trained in this process, one after the other",
                hint="leave it out; --out says where experts go",
            )
    from fusion_bench.zoo import classifiers, dense
    from fusion_bench.zoo.bars import bars
    from fusion_bench.zoo.made import build

    recipes: Any = dense if options.name in dense.RECIPES else classifiers
    settings = recipes.RECIPES[options.name]
    if options.steps is not None:
        settings = dataclasses.replace(settings, steps=options.steps)
    build(
        recipes.MAKING, options.name, options.out, settings=settings, seed=options.seed, progress=bars(), tell=print
    )  # fmt: skip
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
