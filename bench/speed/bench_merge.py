"""How fast and how large: merges of eight ViT-B/32 vision towers, as ratios to the I/O floor of the same run.

    pip install -e ".[speed]" && pytest bench/speed

Ratios are printed beside their targets; nothing here fails because a machine was busy.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from bench.speed.floor import io_floor
from bench.speed.generate import EXPERTS, models, vit_shapes
from fusion_bench.merging import MergeReport, merge

ROUNDS = 3
TARGETS = {
    "simple_average": 1.5,
    "weighted_average": 1.5,
    "task_arithmetic": 1.5,
    "dare_task_arithmetic": 1.5,
    "linear_interpolation": 1.5,
    "slerp": 2.0,
    "ties": 3.0,
    "ties_sum": 3.0,
}
PAIRS = ("linear_interpolation", "slerp")


@pytest.fixture(scope="session")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    models(folder, vit_shapes())
    return folder


@pytest.mark.parametrize("name", TARGETS)
def bench_against_the_floor(name, vits, benchmark, tmp_path):
    experts = {f"e{i}": vits / f"e{i}.safetensors" for i in range(2 if name in PAIRS else EXPERTS)}
    base, out = vits / "base.safetensors", tmp_path / "out.safetensors"
    needed = (
        [*experts.values()] if name in (*PAIRS, "simple_average", "weighted_average") else [base, *experts.values()]
    )
    floors, times, peaks = [], [], []

    def round_() -> None:
        began = time.perf_counter()
        io_floor(needed, tmp_path / "floor.safetensors", base.stat().st_size)
        floors.append(time.perf_counter() - began)
        began = time.perf_counter()
        done = merge(name, base=base, experts=experts, out=out, overwrite=True, hashes=False)
        times.append(time.perf_counter() - began)
        assert isinstance(done, MergeReport)
        peaks.append(done.peak_memory)

    benchmark.pedantic(round_, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info |= {
        "seconds": round(statistics.median(times), 3),
        "floor_seconds": round(statistics.median(floors), 3),
        "ratio": round(statistics.median(t / f for t, f in zip(times, floors, strict=True)), 2),
        "target": TARGETS[name],
        "private_mb": round(max(peaks) / 2**20),
    }


@pytest.mark.parametrize("memory", ["64MiB", "512MiB"])
@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "tsv_m_matrices"])
def bench_memory(name, memory, vits, benchmark, tmp_path):
    experts = {f"e{i}": vits / f"e{i}.safetensors" for i in range(EXPERTS)}

    base, out = vits / "base.safetensors", tmp_path / "out.safetensors"

    def once() -> MergeReport:
        done = merge(name, base=base, experts=experts, out=out, memory=memory, hashes=False)
        assert isinstance(done, MergeReport)
        return done

    done = benchmark.pedantic(once, rounds=1)
    benchmark.extra_info |= {"seconds": round(done.seconds, 2), "private_mb": round(done.peak_memory / 2**20)}


def bench_many_small_tensors(benchmark, tmp_path):
    """A hundred thousand tensors of 100 entries, and one tensor of the same bytes; five models each."""
    models(tmp_path / "small", {f"t{i}": (100,) for i in range(100_000)}, experts=4)
    models(tmp_path / "large", {"t": (10_000_000,)}, experts=4)
    found: dict[str, float] = {}

    def both() -> None:
        for kind in ("small", "large"):
            folder = tmp_path / kind
            for name in ("task_arithmetic", "ties"):
                done = merge(
                    name,
                    base=folder / "base.safetensors",
                    experts=[folder / f"e{i}.safetensors" for i in range(4)],
                    out=tmp_path / "out.safetensors",
                    overwrite=True,
                    hashes=False,
                )
                assert isinstance(done, MergeReport)
                found[f"{name} {kind}"] = round(done.seconds, 2)

    benchmark.pedantic(both, rounds=1)
    benchmark.extra_info |= found
