"""Oracles: other people's code, run in an environment of its own, on the same tensors."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def models(shapes, count, seed=0):
    """A base on a coarse grid and experts near it: differences in float32 are exact, and no two are equal."""
    g = torch.Generator().manual_seed(seed)
    base = {n: (torch.randn(s, generator=g).clamp(-3, 3) * 16).round() / 16 for n, s in shapes.items()}
    experts = {
        f"e{i}": {n: t + 0.1 * torch.randn(t.shape, generator=g).clamp(-4, 4) for n, t in base.items()}
        for i in range(count)
    }
    return base, experts


@pytest.fixture(scope="session")
def oracle():
    """``oracle(script, *arguments) -> its last line as JSON``; skips where the environment is not there."""
    python = os.environ.get("FUSION_BENCH_ORACLES")
    if not python:
        pytest.skip("FUSION_BENCH_ORACLES names no Python with the published packages (tests/oracles/requirements.txt)")

    def run(script, *arguments, cwd):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [str(Path(python).absolute()), str(HERE / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**environment, "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run
