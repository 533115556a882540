"""Which cases there are: the cross product of YAML names, restricted to pairs that fit. Reads plain YAML only."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.errors import FusionBenchError, unknown_name


def matrix(
    *,
    algorithms: Sequence[str] = (),
    modelpools: Sequence[str] = (),
    taskpools: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str = "cpu",
    config_dir: Path | None = None,
    words: str = "",
) -> list[Case]:
    """The cases of a selection.

    Args:
        algorithms, modelpools, taskpools: names or globs; nothing named means every algorithm but those whose YAML
            says ``default: false`` (variants), the model pools whose YAML says ``default: true`` (where none of them
            fits the task pool named, those that do), and every task pool that fits but for those whose YAML says
            ``default: false`` (protocols).
        overrides: ``group.field=value[,value…]``; several values make several cases. A case whose algorithm lacks an
            overridden field is left out of a sweep over several algorithms, and is an error when nothing is left.
        words: text (the expression after ``-k``) in which the whole name of a variant, pool or protocol asks for it.

    Raises:
        FusionBenchError: an unknown name, with the nearest; pools that do not fit each other; an unknown field.

    Example:
        >>> [case.id for case in matrix(algorithms=["ties"], overrides=["algorithm.scaling=0.2,0.4"])]
        ['ties[scaling=0.2]-clip_mini-mini8', 'ties[scaling=0.4]-clip_mini-mini8']
    """
    asked = {"algorithm": algorithms, "modelpool": modelpools, "taskpool": taskpools}
    read = {group: _configs(group, asked[group], config_dir) for group in registry.GROUPS}
    said = frozenset(re.findall(r"\w+", words))
    chosen = {
        "algorithm": _select("algorithm", algorithms, read["algorithm"])
        if algorithms
        else [
            name for name, config in sorted(read["algorithm"].items()) if config.get("default", True) or name in said
        ],
        "modelpool": _select("modelpool", modelpools, read["modelpool"])
        if modelpools
        else [name for name, config in sorted(read["modelpool"].items()) if config.get("default") or name in said],
        "taskpool": _select("taskpool", taskpools, read["taskpool"])
        if taskpools
        else [name for name, config in sorted(read["taskpool"].items()) if config.get("default", True) or name in said],
    }
    if taskpools and not modelpools and not _fitting(chosen, read):
        chosen["modelpool"] = sorted(read["modelpool"])  # a task pool that fits no default names its model pools itself
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] not in registry.GROUPS:
            raise FusionBenchError(
                f"override {override!r} names no group",
                hint=f"did you mean algorithm.{key}? Groups are algorithm, modelpool, taskpool",
            )
    combinations = list(itertools.product(*map(choices, overrides)))
    cases = []
    for modelpool in chosen["modelpool"]:
        pool = read["modelpool"][modelpool]
        for taskpool in chosen["taskpool"]:
            if taskpool not in pool.get("taskpools", ()):
                continue
            for algorithm in chosen["algorithm"]:
                if algorithm in read["taskpool"][taskpool].get("without", ()):
                    continue  # it would read what the pool's protocol keeps back
                config = read["algorithm"][algorithm]
                needs = [*config.get("needs", ()), *pool.get("needs", ()), *read["taskpool"][taskpool].get("needs", ())]
                needs = [need for need in dict.fromkeys(needs) if need not in pool.get("provides", ())]
                if "multitask" in needs:
                    continue  # not a matter of the machine: this pool has no such model
                cases += [
                    Case(algorithm, modelpool, taskpool, choice, seed, device, config["kind"], tuple(needs))
                    for choice in combinations
                    if all(_has_field(override, config) for override in choice)
                ]
    if not cases:
        raise _nothing(chosen, overrides, read)
    return cases


def _fitting(chosen: dict[str, list[str]], read: dict[str, dict[str, dict[str, Any]]]) -> bool:
    return any(t in read["modelpool"][m].get("taskpools", ()) for m in chosen["modelpool"] for t in chosen["taskpool"])


def _configs(group: str, asked: Sequence[str], config_dir: Path | None) -> dict[str, dict[str, Any]]:
    """The YAML of a group. What was not asked for is not read: a broken file of another case is not this one's."""
    known = registry.names(group, config_dir=config_dir)
    found = {}
    for name in _select(group, asked, known) if asked else known:
        path = registry.config_path(group, name, config_dir=config_dir)
        found[name] = registry.read_config(group, path)
        if group == "algorithm" and "kind" not in found[name]:
            raise FusionBenchError(f"{path} has no 'kind'", hint="kind: reference, merging, ensemble or mixing")
    return found


def _select(group: str, patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    names = sorted(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise unknown_name(group, pattern, names)
        chosen.update(dict.fromkeys(matched))
    return list(chosen)


def choices(override: str) -> list[str]:
    """One override a value: commas within brackets or quotes belong to the value.

    Example:
        >>> choices("algorithm.weights=[1,2],[3,4]")
        ['algorithm.weights=[1,2]', 'algorithm.weights=[3,4]']
    """
    key, equals, text = override.partition("=")
    if not (key and equals and text):
        raise FusionBenchError(f"override {override!r} names no field and value", hint="algorithm.scaling=0.2,0.4")
    values, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += character
    return [f"{key}={value.strip()}" for value in values]


def _has_field(override: str, algorithm: dict[str, Any]) -> bool:
    group, _, field = override.partition("=")[0].lstrip("+").partition(".")
    return group != "algorithm" or field.partition(".")[0] in algorithm


def _nothing(
    chosen: dict[str, list[str]], overrides: Sequence[str], read: dict[str, dict[str, dict[str, Any]]]
) -> FusionBenchError:
    for override in overrides:
        group, _, field = override.partition("=")[0].partition(".")
        if group == "algorithm" and not any(_has_field(override, read[group][name]) for name in chosen[group]):
            fields = {f for name in chosen[group] for f in read[group][name]} - registry.DESCRIPTION
            return unknown_name("option", field, fields, where=f"algorithm {', '.join(chosen[group])}")
        if group not in registry.GROUPS:
            return unknown_name("group", group, registry.GROUPS, where=f"override {override!r}")
    closed = [t for t in chosen["taskpool"] if set(chosen["algorithm"]) <= set(read["taskpool"][t].get("without", ()))]
    if closed:
        return FusionBenchError(
            f"{', '.join(chosen['algorithm'])} cannot run on {', '.join(closed)}: it would read what is kept back",
            hint=f"run it on another task pool; without there: {', '.join(read['taskpool'][closed[0]]['without'])}",
        )
    fits = "; ".join(f"{name}: {', '.join(c.get('taskpools', ()))}" for name, c in sorted(read["modelpool"].items()))
    return FusionBenchError(
        f"no case: {', '.join(chosen['algorithm'])} on {', '.join(chosen['modelpool'])} and "
        f"{', '.join(chosen['taskpool'])} do not go together",
        hint=f"each model pool and its task pools: {fits}",
    )
