"""Which store runs go to, decided from options and environment, without importing mlflow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fusion_bench.errors import FusionBenchError


@dataclass(frozen=True)
class StoreLocation:
    """A tracking URI, and for a store on this machine the folder that artifacts go to."""

    uri: str
    artifacts: Path | None

    @property
    def is_remote(self) -> bool:
        """Whether a server stands between us and the store."""
        return self.uri.startswith(("http://", "https://", "databricks"))

    @property
    def database(self) -> Path | None:
        """The SQLite file, where it is one."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None


def locate_store(uri: str | None = None, *, start: Path | None = None) -> StoreLocation:
    """``uri``, else ``MLFLOW_TRACKING_URI``, else SQLite in ``mlruns/`` of the project around ``start``.

    The project is the nearest folder at or above ``start`` (default: the working directory) that has ``mlruns/`` or a
    ``pyproject.toml``; without one it is ``start`` itself. Paths become absolute, whatever the working directory later.

    Raises:
        FusionBenchError: a file store, which MLflow has given up.

    Example:
        >>> locate_store("http://127.0.0.1:5000").is_remote
        True
    """
    start = (start or Path.cwd()).resolve()
    given = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not given:
        return _sqlite(project_root(start) / "mlruns" / "mlflow.db")
    if given.startswith("sqlite:///"):
        return _sqlite(start / given.removeprefix("sqlite:///"))
    if "://" not in given or given.startswith("file:"):
        raise FusionBenchError(
            f"the tracking URI {given!r} is a folder, and MLflow no longer keeps runs in folders",
            hint=f"use a database in it: sqlite:///{_folder(given, start)}/mlflow.db",
        )
    return StoreLocation(given, None)


def project_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` with ``mlruns/`` or ``pyproject.toml``, else ``start``."""
    for folder in (start, *start.parents):
        if (folder / "mlruns").exists() or (folder / "pyproject.toml").is_file():
            return folder
    return start


def _folder(given: str, start: Path) -> Path:
    path = url2pathname(urlsplit(given).path) if given.startswith("file:") else given
    return (start / path).resolve()


def _sqlite(path: Path) -> StoreLocation:
    return StoreLocation(f"sqlite:///{path}", path.parent / "artifacts")
