"""Runs that a dead process left RUNNING are closed: SIGKILL and the kernel's memory killer leave no time to do it."""

from __future__ import annotations

import os
import socket

from fusion_bench.tracking.store import Store

HOST, PID, STARTED = "host", "pid", "process_started"


def process_tags() -> dict[str, str]:
    """What identifies this process among all that this machine had: a pid alone comes round again."""
    import psutil

    return {HOST: socket.gethostname(), PID: str(os.getpid()), STARTED: f"{psutil.Process().create_time():.0f}"}


def close_stale_runs(store: Store) -> int:
    """Mark RUNNING runs of this machine whose process is gone KILLED; returns how many."""
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    if not experiments:
        return 0
    runs = store.client.search_runs(
        experiments, f"attributes.status = 'RUNNING' and tags.{HOST} = '{socket.gethostname()}'", max_results=500
    )
    stale = [run for run in runs if not _alive(run.data.tags.get(PID), run.data.tags.get(STARTED))]
    for run in stale:
        store.client.set_tag(run.info.run_id, "error", "its process died without closing it")
        store.client.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def _alive(pid: str | None, started: str | None) -> bool:
    import psutil

    try:
        return pid is not None and abs(psutil.Process(int(pid)).create_time() - float(started or 0)) < 2
    except (psutil.Error, ValueError):
        return False
