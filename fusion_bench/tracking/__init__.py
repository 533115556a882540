"""The MLflow store: where runs go, one tracked run, links into the UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_bench.tracking.links import closing_lines, experiment_link, ui_command, view_link
from fusion_bench.tracking.location import StoreLocation, locate_store

if TYPE_CHECKING:
    from fusion_bench.tracking.run import TrackedRun
    from fusion_bench.tracking.store import Store

__all__ = [
    "Store",
    "StoreLocation",
    "TrackedRun",
    "closing_lines",
    "experiment_link",
    "locate_store",
    "ui_command",
    "view_link",
]

_LATE = {"TrackedRun": "fusion_bench.tracking.run", "Store": "fusion_bench.tracking.store"}  # mlflow is behind these


def __getattr__(name: str) -> Any:
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
