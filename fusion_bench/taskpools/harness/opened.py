"""A task of the harness with its data at hand: how large it is, what it is scored by, what makes it what it is."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.harness.catalogue import Catalogue
from fusion_bench.taskpools.harness.chosen import Chosen, choose
from fusion_bench.taskpools.harness.library import SEEDS, quiet, seeded, version
from fusion_bench.taskpools.harness.options import HarnessTaskConfig

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
# where the data lies, and what it is read with: the documents themselves are hashed
_PLACES = frozenset({"dataset_path", "dataset_name", "dataset_kwargs", "config_source"})


@dataclass(frozen=True)
class OpenTask:
    """A task of the harness.

    Attributes:
        name: here.
        task: the harness' object.
        chosen: what it is scored by.
        size: examples that are evaluated.
        limit: the most that are; None for all.
        digest: of the examples, of what the prompts are made of, and of the library's version.
    """

    name: str
    task: Any
    chosen: Chosen
    size: int
    limit: int | None
    digest: str


def open_task(name: str, config: HarnessTaskConfig, catalogue: Catalogue, *, limit: int | None, where: str) -> OpenTask:
    """Open a task: its data is read, and its documents are hashed.

    Raises:
        FusionBenchError: see `Catalogue.task` and `choose`; a number of examples in the prompt where the task allows
            none; another number of documents than the YAML says.
    """
    task = catalogue.task(config)
    where = f"{where}: task {config.task!r}"
    own = task.config.num_fewshot
    if own == 0 and config.num_fewshot:
        raise FusionBenchError(
            f"{where} is made for prompts without examples (num_fewshot: 0), and the harness keeps to that",
            hint="leave num_fewshot out, or write a task of your own with include: and num_fewshot:",
        )
    shots = config.num_fewshot if config.num_fewshot is not None else own or 0
    task.set_config("num_fewshot", shots)
    with quiet(), seeded():  # some tasks shuffle the choices of each document when they read it
        docs = task.eval_docs
        shown = list(task.fewshot_docs() or []) if shots else []
    if config.test_size not in (None, len(docs)):
        raise FusionBenchError(
            f"{where} has {len(docs):,} examples, and {config.test_size:,} are expected",
            hint="its data changed: name an earlier revision, or another test_size",
        )
    chosen = choose(
        task.aggregation(), task.higher_is_better(), _filters(task),
        metric=config.metric, filter=config.filter, right_or_wrong=config.right_or_wrong, own_results=_own(task),
        where=where,
    )  # fmt: skip
    size = len(docs) if limit is None else min(limit, len(docs))
    parts = [
        _lines(itertools.islice(iter(docs), size)),
        _lines(shown),
        json.dumps([_settings(task), shots, SEEDS, version()], sort_keys=True),
        *(_text_of(path) for path in sorted(catalogue.folder(config.task).glob("*.py"))),
    ]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return OpenTask(name, task, chosen, size, limit, digest)


def _filters(task: Any) -> list[str]:
    listed = task.config.filter_list
    return [str(one["name"]) for one in listed] if listed else ["none"]


def _own(task: Any) -> bool:
    """Whether a function of the task itself makes its examples' numbers."""
    from lm_eval.api.task import ConfigurableTask

    inherited = type(task).process_results is ConfigurableTask.process_results
    return task.config.process_results is not None or not inherited


def _lines(docs: Iterable[Any]) -> str:
    """A digest of documents, in their order."""
    found = hashlib.sha256()
    for doc in docs:
        found.update(json.dumps(_plain(doc), sort_keys=True).encode())
    return found.hexdigest()


def _text_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _settings(task: Any) -> dict[str, Any]:
    """What a task's YAML says, but for the places of its data and of itself."""
    found = task.config.to_dict(keep_callable=True)
    about = found.get("metadata")
    if isinstance(about, Mapping):
        found["metadata"] = {key: one for key, one in about.items() if key not in _PLACES}
    return {key: _plain(one) for key, one in found.items() if key not in _PLACES}


def _plain(value: Any) -> Any:
    """Values, and functions as their source, so that they are the same in every process and at every place."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):  # a partial function has none
            pass
    return _ADDRESS.sub("", repr(value))
