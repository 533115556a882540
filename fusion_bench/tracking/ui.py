"""``fusion_bench ui``: MLflow's own UI on the right store."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from fusion_bench.tracking.links import experiment_link, view_link
from fusion_bench.tracking.location import StoreLocation
from fusion_bench.tracking.store import Store


def serve(location: StoreLocation, *, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Start the UI and stay with it until it ends; prints links to the experiments first."""
    store = Store(location)
    root = f"http://{host}:{port}"
    print(f"store: {location.uri}")
    for experiment in store.client.search_experiments():
        if experiment.name != "Default":
            print(f"{experiment.name}: {view_link(experiment.experiment_id, root=root)}")
            print(f"  charts: {experiment_link(experiment.experiment_id, charts=True, root=root)}")
    if location.is_remote:
        print(f"the server has the UI: {location.uri}")
        return 0
    # without the consumers of MLflow's generative-AI jobs, of which there are none here, it starts sooner
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    artifacts = [] if location.artifacts is None else ["--default-artifact-root", location.artifacts.as_uri()]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", location.uri, *artifacts]
    process = subprocess.Popen([*command, "--host", host, "--port", str(port)], env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(process.pid)


def _stop(pid: int) -> None:
    """End a process and what it started: the server itself is a child of ``mlflow ui`` and would outlive it."""
    import psutil

    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=5)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
