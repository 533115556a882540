"""Experts that a model pool's YAML names and nobody publishes: trained here one by one, each kept with its record."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.datasets.digests import content_sum
from fusion_bench.errors import FusionBenchError
from fusion_bench.files import write_whole
from fusion_bench.modelpools.base import BASE, ModelPool
from fusion_bench.modelpools.hub_models import HubModels
from fusion_bench.progress import Progress, silent
from fusion_bench.registry import DESCRIPTION, read_config
from fusion_bench.registry import build as built
from fusion_bench.taskpools.base import TaskPool
from fusion_bench.weights.publication import published

RECORD = "made.json"
S = TypeVar("S", bound="Training")
_TOLD_ONLY = ("base", "files")  # of a record: the base counts by its content, files are looked at


@dataclass(frozen=True)
class Training:
    """How many steps, of what, and how large ones.

    Attributes:
        steps: of ``batch`` pictures.
        rate: of learning, at its highest.
    """

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    rate: float = Field(gt=0)


@dataclasses.dataclass(frozen=True)
class How(Generic[S]):
    """How one expert is trained: its settings, what draws batches and heads, where, and who is told of it."""

    settings: S
    seed: int = 0
    device: str = "cpu"
    progress: Progress = silent


@dataclasses.dataclass(frozen=True)
class Making:
    """What is made, and how one expert of it is.

    Attributes:
        models, tasks: types of the pools.
        make: called as ``make(models, examples, folder, how)``: trains one, saves it into the folder. ``examples`` are
            what ``tasks.examples(task, models)`` gives.
    """

    models: type[ModelPool]
    tasks: type[TaskPool]
    make: Callable[[Any, Any, Path, How[Any]], None]


def build(
    making: Making,
    pool: str,
    out: Path | None = None,
    *,
    settings: Training,
    seed: int = 0,
    device: str | None = None,
    config_dir: Path | None = None,
    progress: Progress = silent,
    tell: Callable[[str], object] = lambda line: None,
) -> None:
    """Train the experts that a model pool names, one a task of the first task pool that it fits, from its base.

    A folder appears when it is whole, with ``made.json``, the record of how it was made. One that is there is kept if
    it was made as it would be now: the same recipe, base, data, settings, seed, and versions of torch and transformers.

    Args:
        out: gets a folder a task; None: where the pool looks for its experts.
        device: None: CUDA where there is one.
        tell: is given a line for each expert: ``kept: …`` or ``made: …``.

    Raises:
        FusionBenchError: other types of pools, a base or data that is not here, and before any training: a folder that
            was made otherwise, or that nothing is known about.
    """
    models = _opened("modelpool", pool, making.models, config_dir)
    tasks = _opened("taskpool", first_taskpool(pool, config_dir), making.tasks, config_dir)
    config = read_config("modelpool", pool, config_dir=config_dir)
    sources = HubModels(pool, config["base"], config["experts"])
    out = _home(sources) if out is None else out
    how = How(settings, seed, device or ("cuda" if torch.cuda.is_available() else "cpu"), progress)
    examples = {task: tasks.examples(task, models) for task in tasks.tasks}
    alike = {
        "recipe": pool,
        "base": sources.label(BASE) if sources.sources[BASE].place == "hub" else None,  # other places: others' paths
        "base_hash": sources.base_hash(),
        "options": {name: value for name, value in config.items() if name not in DESCRIPTION | {"base", "experts"}},
        **dataclasses.asdict(settings),
        "seed": seed,
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }
    records = {task: {"task": task, "data": examples[task].data_hash("train"), **alike} for task in tasks.tasks}
    kept = _kept(out, records)
    devices = [how.device] if torch.device(how.device).type == "cuda" else []  # others share the processor's generator
    for task, record in records.items():
        folder = out / task
        if task not in kept:
            with torch.random.fork_rng(devices), published(folder) as part:
                torch.manual_seed(seed)  # heads are drawn
                making.make(models, examples[task], part, how)
                files = {path.name: content_sum(path) for path in sorted(part.iterdir()) if path.is_file()}
                write_whole(part / RECORD, json.dumps({**record, "files": files}, indent=1) + "\n")
        tell(f"{'kept' if task in kept else 'made'}: {folder}")


def descend(
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[np.random.Generator], Tensor | None],
    how: How[Any],
    *,
    task: str,
) -> None:
    """Take the steps of a training; the rate of learning falls from its highest to 0 as half a cosine.

    Args:
        loss_of: the loss on a batch that is drawn by the generator it is given; None where nothing of that batch has
            a label: then no step is taken.

    Raises:
        FusionBenchError: a loss that is not finite.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> sgd = torch.optim.SGD([weight], lr=0.5)
        >>> how = How(Training(steps=9, batch=1, rate=0.5))
        >>> descend(sgd, lambda rng: (weight - 1).square().sum(), how, task="one")
        >>> weight.item()
        1.0
    """
    settings: Training = how.settings
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        loss = loss_of(np.random.default_rng([how.seed, step]))
        if loss is not None:
            value = loss.item()
            if not math.isfinite(value):
                raise FusionBenchError(
                    f"training {task!r}: the loss of step {step + 1} of {settings.steps} is {value}",
                    hint=f"a rate of learning below {settings.rate:g} is the usual cure",
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        how.progress(f"train {task}", step + 1, settings.steps)


def first_taskpool(pool: str, config_dir: Path | None) -> str:
    """The first task pool that a model pool says it fits: its tasks are what experts are trained on.

    Raises:
        FusionBenchError: it names none.

    Example:
        >>> first_taskpool("nyuv2_resnet50", None)
        'nyuv2'
    """
    named = read_config("modelpool", pool, config_dir=config_dir).get("taskpools") or []
    if not named:
        raise FusionBenchError(f"model pool {pool!r} names no task pool", hint="taskpools: [ta8_classification]")
    return str(named[0])


def _opened(group: str, name: str, wanted: type, config_dir: Path | None) -> Any:
    config = read_config(group, name, config_dir=config_dir)
    found = built(group, name, config_dir=config_dir)
    if not isinstance(found, wanted):
        what = {"modelpool": "model pool", "taskpool": "task pool"}[group]
        raise FusionBenchError(
            f"{what} {name!r} is of type {config['type']}, the recipe is of a {wanted.__name__}",
            hint="name one of that type first in taskpools" if group == "taskpool" else "another recipe may make it",
        )
    return found


def _home(models: HubModels) -> Path:
    """The folder that holds a folder for each expert, called like it, where the pool looks for them."""
    places = {name: Path(models.sources[name].id).expanduser() for name in models.expert_names}
    folders = {
        place.parent if place.name == name and models.sources[name].place == "path" else None
        for name, place in places.items()
    }
    found = folders.pop()
    if folders or found is None:
        raise FusionBenchError(
            f"model pool {models.pool!r} names no one folder that has a folder for each expert, called like it",
            hint="--out says where to write them",
        )
    return found


def _kept(out: Path, records: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The tasks whose experts are there, made as their records say; others that are there are refused."""
    problems = {}
    for task, record in records.items():
        folder = out / task
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            continue
        problems[task] = "; ".join(_differences(folder, json.loads(json.dumps(record))))
    wrong = {out / task: problem for task, problem in problems.items() if problem}
    if wrong:
        folder, problem = next(iter(wrong.items()))
        raise FusionBenchError(
            f"{folder} is there, and is not what would be made: {problem}",
            hint=f"give another --out, or remove {', '.join(map(str, wrong))}",
        )
    return set(problems)


def _differences(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """In what an expert's record differs from how it would be made now, or its files from its record."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files = dict(found["files"])
    except (OSError, ValueError, TypeError, KeyError):
        yield f"no {RECORD} says how it was made"
        return
    for name in [name for name in {**record, **found} if name not in _TOLD_ONLY]:
        before, now = found.get(name), record.get(name)
        if before != now:
            yield f"another {name}" if name in ("base_hash", "data") else f"{name} {before}, now {now}"
    for name, digest in files.items():
        if not (folder / name).is_file() or content_sum(folder / name) != digest:
            yield f"{name} was changed since"
