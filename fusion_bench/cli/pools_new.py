"""``fusion_bench pools new``: a model pool of one's own, written once its checkpoints are known to fit each other."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.files import write_whole
from fusion_bench.hub import Source, fetch, local, missing

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool


def run(options: argparse.Namespace) -> int:
    """Check the checkpoints and write the pool; returns the exit status."""
    folder = options.config_path or Path("config")
    path = folder / "modelpool" / f"{options.name}.yaml"
    sources = _sources(options)
    _check_names(options, path)
    _bring(sources, options)
    content = _content(options, sources)
    pool = registry.build("modelpool", {**content, "name": options.name}, where=f"model pool {options.name!r}")
    check_fitting(pool, list(sources))
    try:
        write_whole(path, _yaml(content))
    except OSError as error:
        raise FusionBenchError(f"cannot write {path}: {error.strerror}", hint="--config-path DIR") from error
    print(f"{path}: {len(sources)} checkpoints that fit each other")
    print(_next(options, folder))
    return 0


def check_fitting(pool: ModelPool, roles: Sequence[str]) -> None:
    """Refuse checkpoints that cannot be fused. Headers are read, and no weights but those of pickles.

    Raises:
        FusionBenchError: a file that cannot be read (a pickle with code in it among them), or tensors that differ.
    """
    for role in roles:  # the base first: the others are held against it
        if not len(pool.state_dict(role)):
            raise FusionBenchError(f"{role} has no tensor that pool {pool.name!r} fuses")


def _sources(options: argparse.Namespace) -> dict[str, Source]:
    found = {"base": Source.parse(options.base, where="--base")}
    for text in options.expert:
        task, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[\w.-]+", task) or not value:
            raise FusionBenchError(f"--expert {text}: no TASK=MODEL", hint="--expert mnist=models/mnist")
        if task in found or task == "multitask":
            raise FusionBenchError(f"--expert {text}: {task} is taken", hint="give each expert a name of its own")
        found[task] = Source.parse(value, where=f"--expert {task}")
    if options.multitask:
        found["multitask"] = Source.parse(options.multitask, where="--multitask")
    return found


def _check_names(options: argparse.Namespace, path: Path) -> None:
    """Names that are wrong, before anything is fetched or read."""
    if not re.fullmatch(r"\w[\w.-]*", options.name):
        raise FusionBenchError(f"{options.name!r} is no name of a file", hint="letters, digits, _ and -")
    if path.exists() and not options.overwrite:
        raise FusionBenchError(f"{path} is there already", hint="--overwrite replaces it")
    folder = options.config_path if options.config_path is not None and options.config_path.is_dir() else None
    known = registry.names("taskpool", config_dir=folder)
    for name in options.taskpool:
        if name not in known:
            raise unknown_name("taskpool", name, known)
    registry.resolve_class("modelpool", options.type)


def _bring(sources: Mapping[str, Source], options: argparse.Namespace) -> None:
    """See that all is on this machine."""
    if options.fetch:
        from fusion_bench.cli.display import display

        with display(f"fetch {options.name}", 0, 1) as progress:
            for one in fetch({f"{options.name}: {r}": s for r, s in sources.items()}, progress=progress).values():
                if isinstance(one, FusionBenchError):
                    raise one
    for role, source in sources.items():
        if local(source) is None:
            hint = "--fetch brings it here" if source.place == "hub" else "give a folder, or an id: owner/name"
            raise FusionBenchError(f"{role}: {source.label}: {missing(source)}", hint=hint)


def _content(options: argparse.Namespace, sources: Mapping[str, Source]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": options.type}
    found |= {"about": options.about} if options.about else {}
    found["base"] = _text(sources["base"])
    found["experts"] = {r: _text(source) for r, source in sources.items() if r not in ("base", "multitask")}
    if "multitask" in sources:
        found |= {"multitask": _text(sources["multitask"]), "provides": ["multitask"]}
    return found | {"taskpools": _taskpools(options, list(found["experts"]))}


def _text(source: Source) -> str:
    """As it stands in a YAML file, which is read from any folder."""
    if source.place == "path":
        return str(Path(source.id).expanduser().resolve())
    return f"{source.id}@{source.revision}" if source.revision else source.id


def _taskpools(options: argparse.Namespace, tasks: list[str]) -> list[str]:
    """Those that were named; else those whose tasks are the experts'."""
    if options.taskpool:
        return list(dict.fromkeys(options.taskpool))
    folder = options.config_path if options.config_path is not None and options.config_path.is_dir() else None
    found = []
    for name in registry.names("taskpool", config_dir=folder):
        config = registry.read_config("taskpool", name, config_dir=folder)
        if set(config.get("tasks", ())) == set(tasks) and config.get("default", True):
            found.append(name)
    return found


def _yaml(content: Mapping[str, Any]) -> str:
    import yaml

    head = "# Written by: fusion_bench pools new\n"
    return head + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)


def _next(options: argparse.Namespace, folder: Path) -> str:
    taskpools = json.loads(json.dumps(_taskpools(options, [text.partition("=")[0] for text in options.expert])))
    name = taskpools[0] if taskpools else "NAME"
    line = f"  pytest bench --modelpool {options.name} --taskpool {name} --fb-config-path {folder}"
    return (
        f"run it:\n{line}"
        if taskpools
        else f"name the task pools that fit in it (taskpools: […]), then run it:\n{line}"
    )
