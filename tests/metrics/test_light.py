"""A comparison of two runs starts quickly: nothing heavy is imported on its way."""

from __future__ import annotations

import subprocess
import sys

import pytest

FILES = (
    "bootstrap effect_size groups intervals mcnemar multiplicity outcomes paired power ranking seeds sign_flip variance"
).split()

USE = """
from fusion_bench.metrics import holm, mcnemar_tests, mean_accuracy_interval, paired_difference, wilson_interval
from fusion_bench.metrics.effect_size import odds_ratio
from fusion_bench.metrics.power import detectable_difference
from fusion_bench.metrics.ranking import rank_runs
a, b = {"t": [1, 1, 0, 1] * 9}, {"t": [1, 0, 0, 1] * 9}
paired_difference(a, b, resamples=200)
mcnemar_tests(a, b), holm({"t": 0.1}), mean_accuracy_interval(a), wilson_interval(3, 4), odds_ratio(3, 4)
detectable_difference(100, 0.1), rank_runs({"a": a, "b": b})
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            f"import {', '.join('fusion_bench.metrics.' + name for name in FILES)}",
            ("scipy", "torch", "statsmodels", "pandas"),
        ),
        (USE, ("scipy.stats", "scipy.optimize", "torch", "statsmodels", "pandas")),
    ],
)
def test_nothing_heavy_is_imported(code: str, heavy: tuple[str, ...]) -> None:
    code += f"\nimport sys\nprint('heavy:', sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_every_name_of_the_folder_is_there() -> None:
    import fusion_bench.metrics as metrics

    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'accuarcy'"):
        _ = metrics.accuarcy
