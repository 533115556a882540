"""What the experts of a pool have in common, before anything fuses them. Try ``pytest bench -k analysis``.

One case per analysis, model pool and task pool, on the pools that ``--modelpool``, ``--taskpool`` and overrides of
pools select. Analyses are no algorithms: where the command line names algorithms, none runs. Nor does one on a task
pool that is a protocol: it would look at the same models once more.
"""

from __future__ import annotations

import math

import pytest

from fusion_bench import registry
from fusion_bench.analysis.case import analysis_cases
from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options
from fusion_bench.pytest_plugin.needs import missing
from fusion_bench.pytest_plugin.progress import say


def pytest_generate_tests(metafunc):
    """Parametrises ``analysis`` from YAML names; nothing heavy is imported."""
    if "analysis" not in metafunc.fixturenames:
        return
    metafunc.config.addinivalue_line("markers", "analysis: fusion_bench: what models have in common; fuses nothing")
    asked = options.read(metafunc.config)
    if asked.algorithms or any(override.startswith("algorithm.") for override in asked.overrides):
        metafunc.parametrize("analysis", [pytest.param(None, id="none")])  # the plugin leaves this out
        return
    try:
        found = analysis_cases(
            modelpools=asked.modelpools,
            taskpools=asked.taskpools,
            overrides=asked.overrides,
            device=asked.device,
            config_dir=asked.config_dir,
        )
    except FusionBenchError as error:
        raise pytest.Collector.CollectError(f"fusion_bench: {error}") from error
    cases = [
        pytest.param(case, id=case.id, marks=[getattr(pytest.mark, name) for name in ("analysis", *case.needs)])
        for case in found
        if registry.read_config("taskpool", case.taskpool, config_dir=asked.config_dir).get("default", True)
    ]
    metafunc.parametrize("analysis", cases or [pytest.param(None, id="none")])


def bench_analysis(analysis, fusion_session, request):
    """One analysis: tables whose every number is one, and a finished run."""
    for reason in filter(None, map(missing, analysis.needs)):
        pytest.skip(reason)
    from fusion_bench.analysis import run_analysis

    result = run_analysis(analysis, fusion_session)

    assert result.tables, f"{analysis.id} found nothing"
    assert all(math.isfinite(value) for value in result.metrics.values()), result.metrics
    shown = [f"{name} {value:.3g}" for name, value in result.metrics.items() if not name.startswith("cost/")]
    say(request.config, f"  {analysis.id}: {', '.join(shown[:4])}{' (reused)' if result.resumed else ''}")
