"""Which tasks the harness has, and opening one: its data, its prompts, its metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.hub import Source
from fusion_bench.hub.trouble import explained
from fusion_bench.taskpools.harness.elsewhere import redirected
from fusion_bench.taskpools.harness.library import quiet, seeded
from fusion_bench.taskpools.harness.options import HarnessTaskConfig

_SHOWN = 20  # names in a message


class Catalogue:
    """The tasks that the harness comes with, and those of a user's folder, which go first.

    Args:
        include_path: a folder with the harness' YAML files.
        where: what messages call the task pool.
    """

    def __init__(self, include_path: Path | None, *, where: str) -> None:
        self._path, self._where = include_path, where
        self._managers: dict[bool, Any] = {}
        if include_path is not None and not include_path.is_dir():
            raise FusionBenchError(
                f"{where}: include_path is {include_path}, which is no folder", hint="name one with YAML files of tasks"
            )

    def folder(self, name: str) -> Path:
        """Where the YAML file of a task is."""
        return Path(self._found(name)[1].yaml_path).parent

    def task(self, config: HarnessTaskConfig) -> Any:
        """The harness' task, with its data.

        Raises:
            FusionBenchError: a name that it has not, or has for several tasks; a task that runs code that a model
                writes, or code that the hub sends; one of pictures or sounds; data that is not here or cannot be read;
                a library that the task needs.
        """
        manager, entry = self._found(config.task)
        where = f"{self._where}: task {config.task!r}"
        _refuse_code(entry.cfg or {}, where)
        with tempfile.TemporaryDirectory() as folder:
            name = config.task
            if config.data is not None:
                file = Path(folder) / "task.yaml"
                file.write_text(redirected(config, entry.cfg, entry.yaml_path, where=where), encoding="utf-8")
                name = str(file)
            task = self._load(manager, name, config, entry, where)
        if getattr(task, "UNSAFE_CODE", False):
            raise _unsafe(where)
        if getattr(task, "MULTIMODAL", False):
            raise FusionBenchError(f"{where} is about pictures or sounds", hint="only tasks of texts can be run")
        return task

    def _load(self, manager: Any, name: str, config: HarnessTaskConfig, entry: Any, where: str) -> Any:
        source = Source(config.data or str((entry.cfg or {}).get("dataset_path") or config.task), kind="dataset")
        try:
            with quiet(), seeded(), explained(source, pool=where):
                try:
                    (task,) = manager.load([name])["tasks"].values()
                except ModuleNotFoundError as error:
                    raise FusionBenchError(
                        f"{where} needs the Python package {error.name}, which is not installed",
                        hint="see the task's folder in the harness for what it needs",
                    ) from error
        except FusionBenchError as error:
            hint = error.hint or "try it with the harness alone: lm_eval run --model dummy --tasks " + config.task
            raise FusionBenchError(error.message, hint=hint) from error
        return task

    def _found(self, name: str) -> tuple[Any, Any]:
        """The manager that has a task, and its entry."""
        for included in (True, False):
            manager = self._manager(alone=included)
            entry = None if manager is None else manager.task_index.get(name)
            if entry is not None:
                self._refuse_several(name, manager)
                return manager, entry
        near = nearest(name, manager.all_subtasks)  # it has thousands: to list them would help nobody
        hint = f"nearest: {', '.join(near)}" if near else "lm_eval ls tasks lists them"
        raise FusionBenchError(f"{self._where}: lm-eval has no task {name!r}", hint=hint)

    def _manager(self, *, alone: bool) -> Any:
        """Of the user's folder ``alone``, which takes no time; or of all that there is, which takes seconds."""
        if alone and self._path is None:
            return None
        if alone not in self._managers:
            from lm_eval.tasks import TaskManager

            path = None if self._path is None else str(self._path)
            try:
                with quiet():
                    self._managers[alone] = TaskManager(include_path=path, include_defaults=not alone)
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise FusionBenchError(
                    f"{self._where}: a YAML file below {path} is no task: {' '.join(str(error).split())}",
                    hint="the folder of include_path may hold tasks of the harness only",
                ) from error
        return self._managers[alone]

    def _refuse_several(self, name: str, manager: Any) -> None:
        if name in manager.all_groups:
            inner = manager.task_index[name].cfg.get("task") or []
            several, kind = [str(_name(one)) for one in ([inner] if isinstance(inner, str) else inner)], "group"
        elif name in manager.all_tags:
            several, kind = sorted(manager.task_index[name].tags), "tag"
        else:
            return
        raise FusionBenchError(
            f"{self._where}: {name!r} is a {kind} of the harness, not one task",
            hint=f"name its tasks: {_some(several)}",
        )


def _refuse_code(config: Mapping[str, Any], where: str) -> None:
    """Before the task's own module is imported: some run such code then."""
    from lm_eval.api.registry import METRIC_REGISTRY

    if config.get("unsafe_code"):
        raise _unsafe(where)
    if config.get("process_results") is not None:
        return
    import lm_eval.api.metrics  # noqa: F401 - fills the registry

    for one in config.get("metric_list") or []:
        name = one.get("metric") if isinstance(one, Mapping) else one
        own = isinstance(name, str) and "." in name  # a function: of the file beside the task
        if isinstance(one, Mapping) and (one.get("hf_evaluate") or not (own or name in METRIC_REGISTRY)):
            raise FusionBenchError(
                f"{where}: its metric {name!r} is code that the hub sends, which is never run here",
                hint="choose a task whose metrics lm-eval has itself, or write one with a function of your own",
            )


def _unsafe(where: str) -> FusionBenchError:
    return FusionBenchError(
        f"{where} runs the code that a model writes on this machine, which is never done here",
        hint="leave it out; run it with the harness alone, in a container: --confirm_run_unsafe_code",
    )


def _name(one: Any) -> Any:
    return one.get("task", one.get("group")) if isinstance(one, Mapping) else one


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
