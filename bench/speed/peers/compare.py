"""Whole jobs, files in to file out, beside the published packages: seconds, and how many times ours goes into theirs.

    FUSION_BENCH_ORACLES=oracles/bin/python python bench/speed/peers/compare.py FOLDER [METHOD]...

FOLDER is what ``generate.py`` made (FOLDER/vit). Every job is a process of its own; what is compared is the time it
takes once its libraries are imported, since all of them import the same ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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
OURS = """
import json, sys
from fusion_bench.merging import merge
folder, name, out = sys.argv[1:]
done = merge(name, base=f"{folder}/base.safetensors", experts=[f"{folder}/e{i}.safetensors" for i in range(8)], out=out)
print(json.dumps({"seconds": done.seconds + done.hashing_seconds, "without hashing": done.seconds}))
"""


def last_line(command: list[str], cwd: Path) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def mergekit_folders(vit: Path, into: Path) -> None:
    """The same files as folders that mergekit takes for models of an architecture it knows nothing of."""
    for path in vit.glob("*.safetensors"):
        folder = into / path.stem
        folder.mkdir(parents=True)
        (folder / "model.safetensors").symlink_to(path.absolute())
        config = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"}
        (folder / "config.json").write_text(json.dumps(config))


def main() -> None:
    vit = Path(sys.argv[1]).absolute() / "vit"
    python = str(Path(os.environ["FUSION_BENCH_ORACLES"]).absolute())
    wanted = sys.argv[2:] or [*dict.fromkeys([*UPSTREAM, *MERGEKIT])]
    for name in wanted:
        with tempfile.TemporaryDirectory(dir=vit.parent) as scratch:
            root = Path(scratch)
            ours = last_line([sys.executable, "-c", OURS, str(vit), name, str(root / "ours.safetensors")], root)
            print(f"{name}: ours {ours['seconds']:.2f} s ({ours['without hashing']:.2f} s without hashing)", flush=True)
            if name in UPSTREAM:
                method, options = UPSTREAM[name]
                for path in vit.glob("*.safetensors"):
                    (root / path.name).symlink_to(path)
                script = str(ORACLES / "run_upstream.py")
                theirs = sum(last_line([python, script, method, json.dumps(options), str(root)], root).values())
                print(f"  fusion-bench 0.2.33: {theirs:.2f} s, {theirs / ours['seconds']:.1f} x", flush=True)
            if name in MERGEKIT:
                method, each, parameters = MERGEKIT[name]
                mergekit_folders(vit, root / "models")
                listed = [{"model": str(root / "models" / f"e{i}"), "parameters": each} for i in range(8)]
                config = {"merge_method": method, "models": listed, "parameters": parameters, "dtype": "float32"}
                if method != "linear":
                    config["base_model"] = str(root / "models" / "base")
                script = str(ORACLES / "run_mergekit.py")
                theirs = last_line([python, script, json.dumps(config), str(root / "out")], root)["seconds"]
                print(f"  mergekit 0.1.4: {theirs:.2f} s, {theirs / ours['seconds']:.1f} x", flush=True)
            shutil.rmtree(root / "models", ignore_errors=True)


if __name__ == "__main__":
    main()
