"""What a process needs before its first case: libraries, and a tracking store that is there."""

from __future__ import annotations

import atexit
import gc
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion_bench.tracking import StoreLocation


def import_libraries(*, tracked: bool) -> None:
    """Import now what the first case of a process would import on its way: starting up is loading, not harness."""
    names = ["torchmetrics.functional.classification", "hydra.core.plugins"]
    if tracked:
        names += ["mlflow", "matplotlib.backends.backend_agg", "fusion_bench.cases.record", "fusion_bench.report.plots"]
    for name in names:
        importlib.import_module(name)
    # Hydra imports every plugin it finds, its own included, when the first configuration is composed (0.2 s)
    importlib.import_module("hydra.core.plugins").Plugins.instance()


def start_up(location: StoreLocation) -> None:
    """Import the libraries, on one core, while a missing database is made on another."""
    from fusion_bench.tracking.ahead import created_meanwhile
    from fusion_bench.tracking.probe import probe

    probe(location)
    with created_meanwhile(location):
        import_libraries(tracked=True)
    # a million objects of those libraries live as long as the process; each full collection looked at them all (0.5 s)
    gc.freeze()
    atexit.register(gc.unfreeze)  # extension modules report as leaked what nothing collects at exit
