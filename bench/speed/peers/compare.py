"""Whole jobs, files in to file out, beside the published packages, each in a process of its own.

    FUSION_BENCH_ORACLES=oracles/bin/python python -m bench.speed.peers.compare FOLDER [METHOD]...

FOLDER is what ``generate.py`` made (FOLDER/vit). Two times of each: *work*, from the call to the result on disk once
libraries are imported (ours has also merged two numbers before, since numba loads its libraries and compiled code when
they are first called), and *process*, all of it. Ours flushes the result to disk and gives digests of the inputs; the
others do neither. Medians of ROUNDS rounds, the tools taking turns.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ORACLES = Path(__file__).parents[3] / "tests" / "oracles"
UPSTREAM = {
    "simple_average": ("SimpleAverageAlgorithm", {}),
    "task_arithmetic": ("TaskArithmeticAlgorithm", {"scaling_factor": 0.3}),
    "ties_sum": (
        "TiesMergingAlgorithm",
        {"scaling_factor": 0.3, "threshold": 20, "remove_keys": [], "merge_func": "sum"},
    ),
    "tsv_m_matrices": ("TaskSingularVectorMerging", {"alpha": 1.0}),
    "iso_c_matrices": ("IsotropicMergingInCommonSubspace", {"scaling_factor": 1.0}),
}
MERGEKIT = {
    "simple_average": ("linear", {"weight": 1.0}, {}),
    "task_arithmetic": ("task_arithmetic", {"weight": 1.0}, {"lambda": 0.3}),
    "ties_mergekit": ("ties", {"weight": 1.0, "density": 0.2}, {"normalize": True}),
}
ONCE = {"tsv_m_matrices", "ties_mergekit"}  # minutes each
OURS = """
import json, sys, time
import torch
from fusion_bench.merging import merge
folder, name, out, hashes = sys.argv[1:]
one = {"w": torch.ones(1)}
merge(name, base=one, experts=[one, one])
began = time.perf_counter()
merge(
    name,
    base=f"{folder}/base.safetensors",
    experts=[f"{folder}/e{i}.safetensors" for i in range(8)],
    out=out,
    hashes=bool(hashes),
)
print(json.dumps({"work": time.perf_counter() - began}))
"""
ROUNDS = 3


class Times(NamedTuple):
    """Seconds."""

    work: float
    process: float


def timed(command: list[str], cwd: Path) -> Times:
    """Run a command whose last line of output is JSON of seconds; they are added up."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    process = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return Times(sum(found.values()), process)


def mergekit_folders(vit: Path, into: Path) -> None:
    """The same files as folders that mergekit takes for models of an architecture it knows nothing of."""
    for path in vit.glob("*.safetensors"):
        folder = into / path.stem
        folder.mkdir(parents=True)
        (folder / "model.safetensors").symlink_to(path.absolute())
        config = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"}
        (folder / "config.json").write_text(json.dumps(config))


def jobs(name: str, vit: Path, root: Path, python: str) -> dict[str, list[str]]:
    """The commands of one method, by tool."""
    found = {
        "fusion_bench": [sys.executable, "-c", OURS, str(vit), name, str(root / "ours.safetensors"), "yes"],
        "without digests": [sys.executable, "-c", OURS, str(vit), name, str(root / "plain.safetensors"), ""],
    }
    if name in UPSTREAM:
        method, options = UPSTREAM[name]
        for path in vit.glob("*.safetensors"):
            (root / path.name).symlink_to(path)
        script = str(ORACLES / "run_upstream.py")
        found["fusion-bench 0.2.33"] = [python, script, method, json.dumps(options), str(root)]
    if name in MERGEKIT:
        method, each, parameters = MERGEKIT[name]
        mergekit_folders(vit, root / "models")
        listed = [{"model": str(root / "models" / f"e{i}"), "parameters": each} for i in range(8)]
        config = {"merge_method": method, "models": listed, "parameters": parameters, "dtype": "float32"}
        if method != "linear":
            config["base_model"] = str(root / "models" / "base")
        script = str(ORACLES / "run_mergekit.py")
        found["mergekit 0.1.4"] = [python, script, json.dumps(config), str(root / "out")]
    return found


def fresh(root: Path) -> None:
    """Without results of the round before."""
    shutil.rmtree(root / "out", ignore_errors=True)
    for path in (*root.glob("*.safetensors"), *root.glob("*.md")):
        if not path.is_symlink():
            path.unlink()


def main() -> None:
    vit = Path(sys.argv[1]).absolute() / "vit"
    python = str(Path(os.environ["FUSION_BENCH_ORACLES"]).absolute())
    for name in sys.argv[2:] or [*dict.fromkeys([*UPSTREAM, *MERGEKIT])]:
        with tempfile.TemporaryDirectory(dir=vit.parent) as scratch:
            root = Path(scratch)
            times: dict[str, list[Times]] = {}
            commands = jobs(name, vit, root, python)
            rounds = 1 if name in ONCE else ROUNDS
            for _ in range(rounds):
                for tool, command in commands.items():
                    fresh(root)
                    times.setdefault(tool, []).append(timed(command, root))
        found = {
            tool: Times(*(statistics.median(column) for column in zip(*rows, strict=True)))
            for tool, rows in times.items()
        }
        print(f"{name} (median of {rounds})")
        for tool, (work, process) in found.items():
            ratio = f"{work / found['fusion_bench'].work:5.1f} x work, "
            ratio += f"{process / found['fusion_bench'].process:5.1f} x process"
            print(f"  {tool:20} work {work:7.2f} s, process {process:7.2f} s   {ratio}", flush=True)


if __name__ == "__main__":
    main()
