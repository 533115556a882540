"""The MLflow store: where runs go, one tracked run, links into the UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late
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

# mlflow is behind these
__getattr__ = late(__name__, {"TrackedRun": "run", "Store": "store"})
