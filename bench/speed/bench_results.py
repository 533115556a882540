"""How fast results are judged, compared and shown: as whole commands, start-up included.

    pip install -e ".[speed,test]" && pytest bench/speed/bench_results.py

The targets are seconds, since a person waits; the ratio is to the target and stands beside it. Nothing here fails
because a machine was busy.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.regression import Settings, judge
from fusion_bench.regression.simulation import Night, result_pair
from fusion_bench.tracking import Store, locate_store
from tests.report.page.made_runs import five_hundred_runs
from tests.report.page.made_store import write_store

COMMAND = "import sys; from fusion_bench.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="session")
def five_hundred(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    Store(locate_store(f"sqlite:///{database}"))
    return write_store(tmp_path_factory.mktemp("five_hundred"), database, five_hundred_runs())


def seconds_of(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def measured(benchmark, work, target: float, rounds: int = 3) -> None:
    times: list[float] = []
    benchmark.pedantic(lambda: times.append(work()), rounds=rounds)
    best = min(times)
    benchmark.extra_info.update({"seconds": round(best, 2), "target": 1.0, "ratio": round(best / target, 2)})


def bench_report_of_500_runs(five_hundred, benchmark, tmp_path: Path) -> None:
    """Ten seconds, for a page under 8 MB."""
    out = tmp_path / "report.html"
    measured(benchmark, lambda: seconds_of("report", "--tracking-uri", five_hundred, "--out", str(out)), 10.0)
    benchmark.extra_info["megabytes"] = round(out.stat().st_size / 1e6, 1)


def bench_comparing_two_runs_among_500(five_hundred, benchmark) -> None:
    """Two seconds."""
    words = ("compare", "method_1", "method_7", "--tracking-uri", five_hundred)
    measured(benchmark, lambda: seconds_of(*words), 2.0)


def bench_judging_60_cases(benchmark) -> None:
    """Twenty seconds for 60 cases of 8 tasks of 2,000 examples, none of which is as before."""
    night, rng = Night(deterministic=False), np.random.default_rng(0)
    pairs = [result_pair(night, rng, lost=0.01, gained=0.01) for _ in range(night.cases)]

    def work() -> float:
        began = time.perf_counter()
        for baseline, now in pairs:
            judge(baseline, now, Settings(), cases=night.cases)
        return time.perf_counter() - began

    measured(benchmark, work, 20.0)
