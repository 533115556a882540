"""What a model pool costs beside a plain merge of the same files: seconds and private memory.

pytest bench/speed/bench_pools.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from bench.speed.generate import EXPERTS

ROUNDS = 3
METHODS = ("simple_average", "task_arithmetic", "ties")
TARGET = 1.2
MIB = 2**20
MODEL = 350 * MIB  # one tower

MAKE = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
folder = Path(sys.argv[1])
torch.manual_seed(0)
clip = CLIPModel(CLIPConfig(vision_config={"patch_size": 32}))
clip.save_pretrained(folder / "base")
CLIPImageProcessor().save_pretrained(folder / "base")
tower = {name: tensor for name, tensor in clip.state_dict().items() if name.startswith("vision_model.")}
for number in range(int(sys.argv[2])):
    g = torch.Generator().manual_seed(number + 1)
    state = {n: t + 0.001 * torch.randn(t.shape, generator=g) if t.is_floating_point() else t for n, t in tower.items()}
    (folder / f"e{number}").mkdir()
    save_file(state, folder / f"e{number}" / "model.safetensors", metadata={"format": "pt"})
    if number == 0:
        base = {name: tensor.contiguous() for name, tensor in tower.items()}
        (folder / "tower").mkdir()
        save_file(base, folder / "tower" / "model.safetensors", metadata={"format": "pt"})
"""

POOL = """
import json, sys, time
from fusion_bench.memory import PeakMemory
from fusion_bench.registry import load_algorithm, load_modelpool
name, folder, experts = json.loads(sys.argv[1])
sources = {e: f"{folder}/{e}" for e in experts}
pool = load_modelpool({"type": "hf_clip", "name": "vits", "base": f"{folder}/base", "experts": sources})
algorithm = load_algorithm(name)
pool.build(pool.state_dict("base"))  # imports, and the frozen half of the base
with PeakMemory(private=True) as peak:
    began = time.perf_counter()
    algorithm.run(pool)
    seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "mib": (peak.peak - peak.start) / 2**20}))
"""

MERGE = """
import json, sys, time
from fusion_bench.merging import merge
name, folder, experts = json.loads(sys.argv[1])
sources = {e: f"{folder}/{e}" for e in experts}
done = merge(name, base=f"{folder}/tower", experts=sources, out=f"{folder}/out", overwrite=True, hashes=False)
print(json.dumps({"seconds": done.seconds, "mib": done.peak_memory / 2**20}))
"""


@pytest.fixture(scope="session")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    subprocess.run([sys.executable, "-c", MAKE, str(folder), str(EXPERTS)], check=True, capture_output=True)
    return folder


def _measured(script: str, name: str, folder: Path) -> dict[str, float]:
    argument = json.dumps([name, str(folder), [f"e{i}" for i in range(EXPERTS)]])
    done = subprocess.run([sys.executable, "-c", script, argument], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", METHODS)
def bench_pool_beside_merge(name: str, vits: Path, benchmark) -> None:  # type: ignore[no-untyped-def]
    through, plain = [], []

    def round_() -> None:
        plain.append(_measured(MERGE, name, vits))
        through.append(_measured(POOL, name, vits))

    benchmark.pedantic(round_, rounds=ROUNDS)
    seconds = [statistics.median(each["seconds"] for each in side) for side in (through, plain)]
    benchmark.extra_info |= {
        "pool_seconds": round(seconds[0], 2),
        "merge_seconds": round(seconds[1], 2),
        "ratio": round(statistics.median(t["seconds"] / p["seconds"] for t, p in zip(through, plain, strict=True)), 2),
        "target": TARGET,
        "pool_mib": round(max(each["mib"] for each in through)),
        "bound_mib": round((2 * MODEL + 512 * MIB) / MIB),
    }
