"""Cards of data sets: a YAML file each, which task pools share instead of saying the same again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.hub.places import local, missing
from fusion_bench.hub.source import Source

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_cards(tasks: Any, cards: str | None, *, where: str) -> Any:
    """The tasks of a pool, each with the fields of its card; as they are where there are no cards.

    Args:
        tasks: names, or a mapping of names to fields, which count where the card has them, too.
        cards: the folder of ``<task>.yaml``; a path or ``package://…``.
        where: how messages call the pool.

    Raises:
        FusionBenchError: no such folder, a task without a card, a card that is no YAML.

    Example:
        >>> with_cards(["mnist"], "package://image_tasks", where="mine")["mnist"]["data"]
        'ylecun/mnist'
        >>> with_cards({"mnist": {"revision": "v1"}}, "package://image_tasks", where="mine")["mnist"]["revision"]
        'v1'
    """
    if cards is None:
        return tasks
    source = Source.parse(cards if "://" in str(cards) else str(Path(cards).absolute()), where=f"{where}: cards")
    folder = local(source)
    if folder is None:
        raise FusionBenchError(f"{where}: no cards: {missing(source)}", hint="a folder with a YAML file a task")
    if isinstance(tasks, Mapping):
        named: dict[str, Any] = dict(tasks)
    elif isinstance(tasks, Sequence) and not isinstance(tasks, str):
        named = {str(task): {} for task in tasks}
    else:
        raise FusionBenchError(f"{where}: tasks is {tasks!r}", hint="give a list of names")
    return {task: {**_card(folder, task, where), **(fields or {})} for task, fields in named.items()}


def _card(folder: Path, task: str, where: str) -> dict[str, Any]:
    path = folder / f"{task}.yaml"
    if not path.is_file():
        raise unknown_name(
            "task", task, sorted(card.stem for card in folder.glob("*.yaml")), where=f"{where}, {folder}"
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, yaml.YAMLError) as error:
        raise FusionBenchError(f"cannot read the card {path}: {error}") from error
    if not isinstance(content, Mapping):
        raise FusionBenchError(f"the card {path} holds no fields", hint="data:, classes:, templates:")
    return dict(content)
