"""``fusion_bench ui``: the right store, no other processes, and nothing left when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil

from fusion_bench.tracking import Store, TrackedRun


def test_it_serves_this_store_without_job_consumers_and_leaves_no_process(store: Store) -> None:
    with TrackedRun(store, "pool/tasks", "ties", {}):
        pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys; from fusion_bench.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["ui", "--tracking-uri", store.location.uri, "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search?max_results=5"
        assert "pool/tasks" in answer(address)
        family = psutil.Process(process.pid).children(recursive=True)
        assert not [p for p in family if "huey" in " ".join(p.cmdline())]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert psutil.wait_procs(family, timeout=10)[1] == []
        assert f"http://127.0.0.1:{port}/#/experiments/" in process.stdout.read().decode()
    finally:
        for left in (*psutil.Process(process.pid).children(recursive=True), process) if process.poll() is None else ():
            left.kill()
        process.wait()
        process.stdout.close()


def answer(address: str, seconds: float = 120) -> str:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as found:
                return str(found.read().decode())
        except OSError:  # noqa: PERF203
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
