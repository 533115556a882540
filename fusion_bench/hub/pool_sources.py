"""What a pool's YAML names: its sources, read without building the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fusion_bench import registry
from fusion_bench.hub import pins as pinning
from fusion_bench.hub.cards import with_cards
from fusion_bench.hub.places import local, missing
from fusion_bench.hub.source import Source

#: Keys of a model pool that hold one source, and that map names to sources.
_ONE, _SEVERAL = ("base", "multitask", "path"), ("experts", "adapters")
_OF_DATA = ("revision", "subset", "subfolder", "bytes", "sha256", "licence", "gated")

State = Literal["here", "partly", "missing", "shipped"]


@dataclass(frozen=True)
class Pool:
    """A pool as its YAML describes it.

    Attributes:
        group: ``modelpool`` or ``taskpool``.
        config: the content of its file.
        file: where that is.
        sources: by role (``base``, an expert's or a task's name), pinned where pins are known.
        written: the same as the YAML says them.
    """

    group: str
    name: str
    config: Mapping[str, Any]
    file: Path
    sources: Mapping[str, Source]
    written: Mapping[str, Source]

    @property
    def about(self) -> str:
        """One line: its ``about``, else the first comment of its file."""
        if isinstance(self.config.get("about"), str):
            return str(self.config["about"])
        first = self.file.read_text(encoding="utf-8").lstrip().partition("\n")[0]
        return first.lstrip("# ") if first.startswith("#") else ""

    @property
    def missing(self) -> dict[str, str]:
        """Sources that are not here, whole, and what lacks; by role."""
        return {role: missing(source) for role, source in self.sources.items() if local(source) is None}

    @property
    def state(self) -> State:
        """``shipped`` with a Python package, all ``here``, some of it (``partly``), or nothing (``missing``)."""
        lacking = len(self.missing)
        if not lacking:
            shipped = all(source.place in ("package", "python") for source in self.sources.values())
            return "shipped" if shipped else "here"
        return "partly" if lacking < len(self.sources) else "missing"

    @property
    def install(self) -> str | None:
        """The command that installs the Python packages that it comes with, where its file says it."""
        return self._command("install")

    @property
    def make(self) -> str | None:
        """The command that makes what of it nobody publishes, where its file says it."""
        return self._command("make")

    def _command(self, key: str) -> str | None:
        found = self.config.get(key)
        return found if isinstance(found, str) else None

    @property
    def model_bytes(self) -> int | None:
        """Of one model as it is fused, in memory: what its file says (``model_bytes``), None where it says nothing."""
        found = self.config.get("model_bytes")
        return found if type(found) is int and found > 0 else None

    @property
    def made(self) -> tuple[Source, ...]:
        """Folders that are not here and that its command, ``make``, makes; without such a command none."""
        if self.make is None:
            return ()
        return tuple(one for one in self.sources.values() if one.place == "path" and local(one) is None)

    @property
    def published(self) -> tuple[str, ...]:
        """The published tables that its results are held against."""
        found = self.config.get("published", ())
        return tuple(map(str, [found] if isinstance(found, str) else found))


def read_pool(group: str, name: str, *, config_dir: Path | None = None, overrides: Iterable[str] = ()) -> Pool:
    """A pool's description.

    Args:
        group: ``modelpool`` or ``taskpool``.
        overrides: ``group.field=value``, as a case has them; those of other groups are left out.

    Raises:
        FusionBenchError: no such pool, a file that is not YAML, a source that names nothing, damaged pins.

    Example:
        >>> read_pool("modelpool", "clip_vit_b32_ta8").sources["base"].id
        'openai/clip-vit-base-patch32'
    """
    file = registry.config_path(group, name, config_dir=config_dir)
    return _described(group, name, _overridden(registry.read_config(group, file), group, overrides), file)


def _described(group: str, name: str, config: Mapping[str, Any], file: Path) -> Pool:
    written = sources_of(config, where=f"{group} {name!r} ({file})")
    pins = pinning.read(pinning.path_of(file))
    return Pool(group, name, config, file, {role: pinning.pinned(of, pins) for role, of in written.items()}, written)


def sources_of(config: Mapping[str, Any], *, where: str = "the pool") -> dict[str, Source]:
    """The sources that a pool's configuration names, by role.

    Of a model pool: ``base``, ``multitask``, ``path``, and each of ``experts`` and ``adapters``. Of a task pool:
    ``path``, and what each task (or its card, see ``hub.cards``) has under ``data``, with ``revision``, ``subset`` and
    the like beside it.

    Raises:
        FusionBenchError: a value that is no source.

    Example:
        >>> list(sources_of({"base": "a/b", "experts": {"mnist": "a/c@v1"}}))
        ['base', 'mnist']
        >>> sources_of({"tasks": {"svhn": {"data": "a/svhn", "subset": "digits"}}})["svhn"].subset
        'digits'
    """
    found: dict[str, Source] = {}
    tasks = with_cards(config.get("tasks"), config.get("cards"), where=where)
    kind: Literal["model", "dataset"] = "dataset" if tasks is not None else "model"
    for key in _ONE:
        if config.get(key) is not None:
            value = _path(config[key]) if key == "path" else config[key]
            found[key] = Source.parse(value, kind=kind, where=f"{where}: {key}")
    for key in _SEVERAL:
        for name, value in _items(config.get(key)):
            found[name] = Source.parse(value, kind="model", where=f"{where}: {key}.{name}")
    for name, task in _items(tasks):
        data = task.get("data") if isinstance(task, Mapping) else None
        if data is not None:
            beside = {k: task[k] for k in _OF_DATA if task.get(k) is not None}
            value = {"id": data, **beside} if isinstance(data, str) else {**beside, **data}
            found[name] = Source.parse(value, kind="dataset", where=f"{where}: tasks.{name}")
    return found


def with_pins(group: str, name: str, config: Mapping[str, Any], *, config_dir: Path | None = None) -> dict[str, Any]:
    """A pool's composed configuration, with the commits of the pins that lie beside its file; as it is without such.

    Example:
        >>> with_pins("modelpool", "clip_mini", {"type": "embedded_clip", "path": "package://clip_mini"})["path"]
        'package://clip_mini'
    """
    file = registry.config_path(group, name, config_dir=config_dir)
    if not pinning.path_of(file).is_file():
        return dict(config)
    return pinned_config(_described(group, name, config, file))


def pinned_config(pool: Pool) -> dict[str, Any]:
    """The pool's configuration with the commits of its pins: what a run of it should be recorded with.

    Example:
        >>> pool = read_pool("taskpool", "mini8")
        >>> pinned_config(pool) == pool.config  # it has no pins
        True
    """
    found = dict(pool.config)
    for role, source in pool.sources.items():
        commit = source.revision
        if commit == pool.written[role].revision or commit is None:
            continue
        for key in _SEVERAL:
            if role in dict(_items(found.get(key))):
                found[key] = {**found[key], role: _at(found[key][role], commit)}
        if role in _ONE:
            found[role] = _at(found[role], commit)
        elif source.kind == "dataset":
            tasks = found["tasks"]
            named = dict(tasks) if isinstance(tasks, Mapping) else {task: {} for task in tasks}
            fields = {**(named[role] or {}), "revision": commit}
            described = with_cards(tasks, found.get("cards"), where=f"{pool.group} {pool.name!r}")
            if "@" in str(dict(_items(described))[role]["data"]):  # else two revisions would stand there
                fields["data"] = source.id
            found["tasks"] = {**named, role: fields}
    return found


def pools(*, config_dir: Path | None = None) -> list[tuple[str, str]]:
    """Group and name of every pool."""
    return [(g, name) for g in ("modelpool", "taskpool") for name in registry.names(g, config_dir=config_dir)]


def _at(value: Any, commit: str) -> dict[str, Any]:
    fields = dict(value) if isinstance(value, Mapping) else {"id": str(value)}
    return {**fields, "id": fields["id"].partition("@")[0], "revision": commit}


def _path(value: Any) -> Any:
    """What stands under ``path`` is never an id of the hub."""
    return f"./{value}" if isinstance(value, str) and Source(value).place == "hub" else value


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), one) for name, one in value.items()] if isinstance(value, Mapping) else []


def _overridden(config: dict[str, Any], group: str, overrides: Iterable[str]) -> dict[str, Any]:
    import yaml

    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        of, *fields = key.split(".")
        if of == group and fields:
            config = _with(config, fields, yaml.safe_load(text))
    return config


def _with(config: Mapping[str, Any], fields: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = fields
    inner = config.get(first)
    return {**config, first: _with(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value}
