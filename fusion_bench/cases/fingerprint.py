"""A case's fingerprint: configuration, checkpoints, data, and the code that computes the result."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Parts of the package that no number depends on.
_SHELL = frozenset({"analysis", "assets", "cli", "config", "pytest_plugin", "regression", "report", "tracking", "zoo"})


def fingerprint(config: Mapping[str, Any], *content: str) -> str:
    """A hash of the resolved configuration and of the given content hashes.

    Example:
        >>> fingerprint({"a": 1}, "x") == fingerprint({"a": 1}, "x") != fingerprint({"a": 2}, "x")
        True
    """
    text = json.dumps([config, list(content)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration but for seeds: what the runs of one method with several seeds have in common.

    Example:
        >>> without_seed({"seed": 3, "algorithm": {"seed": 3, "scaling": 0.3}})
        {'algorithm': {'scaling': 0.3}}
    """
    rest = {key: value for key, value in config.items() if key != "seed"}
    return {**rest, "algorithm": {key: value for key, value in config["algorithm"].items() if key != "seed"}}


def plugin_hash(classes: Iterable[type]) -> str:
    """A hash of the code behind classes that are not this package's: a user's plugin changes results too.

    It covers the class's file, and where that lies in a package, all Python files beside and below it.

    Example:
        >>> from fusion_bench.cases.case import Case
        >>> plugin_hash([Case])
        ''
    """
    files = {path for cls in classes for path in plugin_files(cls)}
    if not files:
        return ""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def plugin_files(cls: type) -> list[Path]:
    """The Python files behind a class that is not this package's, sorted; none behind one that is."""
    if cls.__module__.partition(".")[0] == "fusion_bench":
        return []
    path = Path(inspect.getfile(cls))
    return sorted(path.parent.rglob("*.py")) if "." in cls.__module__ else [path]


def code_hash(package: Path | None = None) -> str:
    """A hash of the package's Python files, but for those that only show or store results."""
    root = package or Path(__file__).parent.parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[0] not in _SHELL:
            found.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
