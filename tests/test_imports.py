"""What must be quick imports nothing heavy: each check runs in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "mlflow",
    "transformers",
    "hydra",
    "pandas",
    "datasets",
    "open_clip",
    "torchmetrics",
    "matplotlib",
    "scipy",
)

LIGHT = {
    "package": "import fusion_bench",
    "errors": "from fusion_bench import FusionBenchError",
    "help": "from fusion_bench.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
    "completion": "from fusion_bench.cli import main\nassert main(['--complete', 'algorithm=']) == 0",
    "typo": "from fusion_bench.cli import main\nassert main(['-m', 'algorithm=tiez,ties']) == 2",
    "pools": "from fusion_bench.cli import main\nassert main(['pools', 'list']) == 0",
    "matrix": "from fusion_bench.cases import matrix\nassert len(matrix()) > 10",
    "names": "from fusion_bench import registry\nassert 'ties' in registry.names('algorithm')",
    "plugin": "import fusion_bench.pytest_plugin",
    "store": "from fusion_bench.tracking import locate_store\nlocate_store()",
}


@pytest.mark.parametrize("name", LIGHT)
def test_nothing_heavy_is_imported(name: str) -> None:
    code = f"{LIGHT[name]}\nimport sys\nprint('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_task_pools_and_protocols_know_no_registry() -> None:
    """The registry builds task pools by name: an import the other way would be a circle."""
    code = "import sys, fusion_bench.taskpools.base\nprint('fusion_bench.registry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
