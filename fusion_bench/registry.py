"""From names to validated objects: a YAML file's name is the name a user types, its ``type`` names the Python file.

Reading names needs PyYAML only; torch and pydantic are imported when something is built.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.validation import instantiate

if TYPE_CHECKING:
    from fusion_bench.algorithms.base import Algorithm
    from fusion_bench.modelpools.base import ModelPool
    from fusion_bench.taskpools.base import TaskPool

GROUPS = ("algorithm", "modelpool", "taskpool")

#: Keys of a YAML file that describe it and are no fields of the object it builds.
DESCRIPTION = frozenset(
    """
    type about kind needs provides default taskpools search without published licence bytes model_bytes install
    make
    """.split()
)

_HOMES = {
    "algorithm": ("fusion_bench.algorithms", "Algorithm"),
    "modelpool": ("fusion_bench.modelpools", "ModelPool"),
    "taskpool": ("fusion_bench.taskpools", "TaskPool"),
}
# files of the groups that define none
_NO_TYPES = frozenset(
    """
    ahead architecture base classifier evaluate hub_models hub_pool needed matrices options processor
    steps text_models view zero_shot
    """.split()
)
_BUILT_IN = Path(__file__).parent / "config"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same language; ten times faster where libyaml is built in


def folders(group: str, config_dir: Path | None = None) -> list[Path]:
    """Where YAML files of a group are looked for, the user's folder first."""
    if group not in GROUPS:
        raise unknown_name("group", group, GROUPS)
    if config_dir is not None and not config_dir.is_dir():
        raise FusionBenchError(
            f"no such folder: {config_dir}", hint="it should hold algorithm/, modelpool/ or taskpool/ with YAML files"
        )
    return [root / group for root in (config_dir, _BUILT_IN) if root is not None]


def names(group: str, *, config_dir: Path | None = None) -> list[str]:
    """The names of a group, sorted.

    Example:
        >>> "ties" in names("algorithm")
        True
    """
    return sorted({path.stem for folder in folders(group, config_dir) for path in folder.glob("*.yaml")})


def config_path(group: str, name: str, *, config_dir: Path | None = None) -> Path:
    """The YAML file behind a name; the nearest names where there is none."""
    for folder in folders(group, config_dir):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    raise unknown_name(group, name, names(group, config_dir=config_dir))


def read_config(
    group: str, source: str | Path | Mapping[str, Any], *, config_dir: Path | None = None
) -> dict[str, Any]:
    """The plain content of a configuration.

    Args:
        source: a name of the group, the path of a YAML file (ends in ``.yaml`` or ``.yml``), or a mapping.

    Raises:
        FusionBenchError: no such name or file, a file that is not YAML (with the line), or no ``type`` in it.

    Example:
        >>> read_config("algorithm", {"type": "ties", "density": 0.1})["density"]
        0.1
    """
    if isinstance(source, Mapping):
        content: Any = dict(source)
        where = f"the {group} given as a dict"
    else:
        text = str(source)
        path = Path(text) if text.endswith((".yaml", ".yml")) else config_path(group, text, config_dir=config_dir)
        where = str(path)
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except FileNotFoundError:
            raise FusionBenchError(f"no such file: {path}", hint=f"or use a name: {', '.join(names(group))}") from None
        except OSError as error:
            raise FusionBenchError(f"cannot read {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise FusionBenchError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise FusionBenchError(f"{where} holds no options", hint=f"start with type: {_example(group)}")
    if not isinstance(content.get("type"), str):
        raise FusionBenchError(f"{where} has no 'type'", hint=f"for instance type: {_example(group)}")
    for key in content:
        if not isinstance(key, str):
            raise FusionBenchError(f"{where}: the option {key!r} is no word", hint="put quotes around it")
    return content


def resolve_class(group: str, type_name: str, *, plugins: Sequence[str] = ()) -> type:
    """The class that ``type: <type_name>`` means.

    It is the one public class of the group's base defined in ``<package>/<type_name>.py``; else the entry point of
    that name in the group ``<package>``; else the class in a plugin (a module's name or the path of a Python file)
    whose module, or file, is called so.

    Example:
        >>> resolve_class("algorithm", "ties").__name__
        'Ties'
    """
    package, base_name = _HOMES[group]
    base = getattr(importlib.import_module(f"{package}.base"), base_name)
    if type_name.isidentifier() and importlib.util.find_spec(f"{package}.{type_name}") is not None:
        return _only_class(importlib.import_module(f"{package}.{type_name}"), base)
    for point in entry_points(group=package, name=type_name):
        return point.load()
    for plugin in plugins:
        module = _plugin_module(plugin)
        if module.__name__.rpartition(".")[2] == type_name:
            return _only_class(module, base)
        if hasattr(module, "__path__") and importlib.util.find_spec(f"{module.__name__}.{type_name}") is not None:
            return _only_class(importlib.import_module(f"{module.__name__}.{type_name}"), base)
    known = sorted(p.stem for p in _package_folder(package).glob("[a-z]*.py") if p.stem not in _NO_TYPES)
    error = unknown_name(f"{group} type", type_name, known)
    raise FusionBenchError(error.message, hint=f"{error.hint}; a file of your own: --plugin {type_name}.py")


def build(
    group: str,
    source: str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    where: str | None = None,
) -> Any:
    """The validated object of a configuration.

    Args:
        overrides: fields that replace those of the source.
        where: what errors call the source, for instance the file that a dict was read from.

    Raises:
        FusionBenchError: an unknown field (with the nearest), or a value of a wrong type or out of range.
    """
    config = read_config(group, source, config_dir=config_dir) | dict(overrides or {})
    where = where or _described(group, source, config, config_dir)
    cls = resolve_class(group, config["type"], plugins=plugins)
    fields = {key: value for key, value in config.items() if key not in DESCRIPTION}
    if group != "algorithm":
        fields.setdefault("name", Path(str(source)).stem if not isinstance(source, Mapping) else config["type"])
    elif config.get("kind", cls.kind) != cls.kind:  # type: ignore[attr-defined]
        raise FusionBenchError(
            f"{where} says kind: {config['kind']}, its class is of kind {cls.kind}",  # type: ignore[attr-defined]
            hint=f"write kind: {cls.kind}",  # type: ignore[attr-defined]
        )
    return instantiate(cls, fields, where=where)


def load_algorithm(source: str | Path | Mapping[str, Any], **overrides: Any) -> Algorithm:
    """An algorithm from a name, a YAML file or a dict, with options replaced.

    Example:
        >>> load_algorithm("ties", scaling=0.4).scaling
        0.4
    """
    found: Algorithm = build("algorithm", source, overrides=overrides)
    return found


def load_modelpool(source: str | Path | Mapping[str, Any], **overrides: Any) -> ModelPool:
    """A model pool from a name, a YAML file or a dict."""
    found: ModelPool = build("modelpool", source, overrides=overrides)
    return found


def load_taskpool(source: str | Path | Mapping[str, Any], **overrides: Any) -> TaskPool:
    """A task pool from a name, a YAML file or a dict."""
    found: TaskPool = build("taskpool", source, overrides=overrides)
    return found


def _described(group: str, source: str | Path | Mapping[str, Any], config: dict[str, Any], root: Path | None) -> str:
    if isinstance(source, Mapping):
        return f"{group} of type {config['type']!r}"
    text = str(source)
    path = text if text.endswith((".yaml", ".yml")) else config_path(group, text, config_dir=root)
    return f"{group} {Path(text).stem!r} ({path})"


def _only_class(module: ModuleType, base: type) -> type:
    found = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and not name.startswith("_")
        and value.__module__ == module.__name__ and not inspect.isabstract(value)
    ]  # fmt: skip
    if len(found) != 1:
        raise FusionBenchError(
            f"{module.__name__} defines {len(found)} classes derived from {base.__name__}",
            hint="one file, one class: the file's name is its type",
        )
    return found[0]


def _plugin_module(plugin: str) -> ModuleType:
    try:
        if not plugin.endswith(".py"):
            return importlib.import_module(plugin)
        path = Path(plugin).resolve()
        loaded = sys.modules.get(path.stem)
        if loaded is not None:
            if Path(getattr(loaded, "__file__", None) or ".").resolve() == path:
                return loaded
            raise ImportError(f"a module named {path.stem!r} is loaded already, rename the file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ImportError(f"no such file: {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # pydantic looks annotations up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[path.stem]  # half a module must not be found by the next caller
            raise
    except (ImportError, SyntaxError) as error:
        raise FusionBenchError(
            f"cannot import the plugin {plugin!r}: {error}", hint="give a module's name or a .py file"
        ) from error
    return module


def _package_folder(package: str) -> Path:
    return Path(__file__).parent / package.rpartition(".")[2]


def _example(group: str) -> str:
    return {"algorithm": "ties", "modelpool": "embedded_clip", "taskpool": "zero_shot_classification"}[group]
