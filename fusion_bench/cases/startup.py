"""What a process needs before its first case: libraries, and a tracking store that is there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion_bench.tracking import StoreLocation


def import_libraries(*, tracked: bool) -> None:
    """Import now what the first case of a process would import on its way: starting up is loading, not harness."""
    names = ["torchmetrics.functional.classification", "hydra"]
    names += ["mlflow", "matplotlib.figure", "fusion_bench.cases.record"] if tracked else []
    for name in names:
        importlib.import_module(name)


def start_up(location: StoreLocation) -> None:
    """Import the libraries, on one core, while a missing database is made on another."""
    from fusion_bench.tracking.ahead import created_meanwhile
    from fusion_bench.tracking.probe import probe

    probe(location)
    with created_meanwhile(location):
        import_libraries(tracked=True)
