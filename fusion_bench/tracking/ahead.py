"""A missing database, made by a process of its own while this one imports its libraries."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from fusion_bench.tracking.location import StoreLocation

_SECONDS = 60
_CODE = "import sys; from fusion_bench.tracking import Store, locate_store; Store(locate_store(sys.argv[1]))"


@contextlib.contextmanager
def created_meanwhile(location: StoreLocation) -> Iterator[None]:
    """Within, another process creates the SQLite database where it is missing; at the end it is there.

    MLflow takes some three seconds to make its tables and as long to be imported, both on one core. What goes wrong in
    the other process is not told: whoever opens the store afterwards meets it again, and says so.
    """
    child = None
    if location.database is not None and not location.database.exists():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(
            [sys.executable, "-c", _CODE, location.uri], stdin=quiet, stdout=quiet, stderr=quiet, env=environment
        )
    try:
        yield
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_SECONDS)
    finally:
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()
