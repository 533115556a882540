"""Which cases a command line names: one, or with ``-m`` one for every combination of its comma lists."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from fusion_bench import registry
from fusion_bench.cli.parser import COMMANDS
from fusion_bench.errors import FusionBenchError, unknown_name

if TYPE_CHECKING:
    from fusion_bench.cases import Case


def select(options: argparse.Namespace) -> list[Case]:
    """The cases of parsed options (see `parser`).

    Raises:
        FusionBenchError: an unknown name or option, with the nearest; several values without ``-m``.
    """
    from fusion_bench.cases import matrix
    from fusion_bench.cases.selection import choices

    given = {word.partition("=")[0]: word.partition("=")[2] for word in options.overrides}
    root = _root(options)
    rest = [word for word in options.overrides if word.partition("=")[0] not in (*registry.GROUPS, "seed", "device")]
    groups = {group: _several(given.get(group) or root["defaults"].get(group), group) for group in registry.GROUPS}
    said = _first(options.seed, given.get("seed"), root.get("seed") or None)  # the root's 0 leaves a YAML its own
    seeds = [None] if said is None else [_seed(text) for text in _several(said, "seed")]
    devices = _several(_first(options.device, given.get("device"), root.get("device"), "cpu"), "device")
    if not options.multirun:
        counts = {name: len(names) for name, names in groups.items()} | {"seed": len(seeds), "device": len(devices)}
        swept = [name for name, count in counts.items() if count > 1]
        swept += [word.partition("=")[0] for word in rest if len(choices(word)) > 1]
        if swept:
            raise FusionBenchError(f"several values for {', '.join(swept)}", hint="sweep them with -m")
        _check(groups, rest, options)
    cases = matrix(
        algorithms=groups["algorithm"],
        modelpools=groups["modelpool"],
        taskpools=groups["taskpool"],
        overrides=rest,
        config_dir=options.config_path,
    )
    return [
        dataclasses.replace(case, seed=seed, device=device) for device in devices for seed in seeds for case in cases
    ]


def _check(groups: dict[str, list[str]], rest: list[str], options: argparse.Namespace) -> None:
    """Compose once, before a store is made or a model is read: an unknown option is answered with the nearest one."""
    from fusion_bench.cases.compose import compose

    words = [*(f"{group}={names[0]}" for group, names in groups.items()), *rest]
    compose(words, config_dir=options.config_path, config_name=options.config_name)


def _root(options: argparse.Namespace) -> dict[str, Any]:
    """The root configuration with its defaults list as a mapping; groups that it leaves out as in the shipped one."""
    import yaml

    from fusion_bench.cases.compose import CONFIG_NAME, root_file

    path = root_file(options.config_name, options.config_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FusionBenchError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    listed = content.get("defaults") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise FusionBenchError(f"{path} has no list of defaults", hint="defaults: [algorithm: ties, …]")
    shipped = yaml.safe_load(root_file(CONFIG_NAME).read_text(encoding="utf-8"))["defaults"]
    entries = [entry for entry in (*shipped, *listed) if isinstance(entry, dict)]
    return {**content, "defaults": {str(key): str(value) for entry in entries for key, value in entry.items()}}


def _several(text: object, name: str) -> list[str]:
    found = [part.strip() for part in str(text).split(",")]
    if not all(found):
        raise FusionBenchError(f"{name}={text} holds an empty value", hint="separate values by one comma")
    return list(dict.fromkeys(found))


def _first(*values: object) -> object:
    return next((value for value in values if value is not None), None)


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FusionBenchError(f"seed={text}: a seed is a whole number") from None


def check_words(words: list[str]) -> None:
    """Refuse what is no ``OPTION=VALUE``.

    Example:
        >>> check_words(["zo"])
        Traceback (most recent call last):
        fusion_bench.errors.FusionBenchError: unknown command 'zo' where options are written OPTION=VALUE
          hint: did you mean 'zoo'? There are: baseline, compare, list, merge, pools, report, ui, zoo
    """
    for word in words:
        if "=" not in word.lstrip("~"):
            error = unknown_name("command", word, COMMANDS)
            raise FusionBenchError(f"{error.message} where options are written OPTION=VALUE", hint=error.hint)
