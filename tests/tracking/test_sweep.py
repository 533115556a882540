"""Runs of processes that died are closed, others are left alone."""

from __future__ import annotations

import os
import subprocess
import sys

from fusion_bench.tracking import Store, TrackedRun
from fusion_bench.tracking.sweep import close_stale_runs, process_tags


def start(store: Store, name: str, tags: dict[str, str]) -> str:
    return TrackedRun(store, "pool/tasks", name, tags).__enter__().id


def test_only_runs_of_dead_processes_of_this_machine_are_closed(store: Store) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    mine = process_tags()
    runs = {
        "dead": start(store, "dead", {**mine, "pid": str(done.pid)}),
        "pid of another": start(store, "again", {**mine, "process_started": "1000000000"}),
        "alive": start(store, "alive", mine),
        "elsewhere": start(store, "elsewhere", {**mine, "host": "another-machine", "pid": str(done.pid)}),
        "not ours": start(store, "not ours", {}),
    }
    assert mine["pid"] == str(os.getpid())
    assert close_stale_runs(store) == 2
    status = {name: store.client.get_run(run).info.status for name, run in runs.items()}
    assert status == {
        "dead": "KILLED", "pid of another": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING", "not ours": "RUNNING",
    }  # fmt: skip
    assert "died" in store.client.get_run(runs["dead"]).data.tags["error"]
    assert close_stale_runs(store) == 0


def test_an_empty_store_has_none(store: Store) -> None:
    assert close_stale_runs(store) == 0
