"""The fixtures a test may ask for. ``case`` makes a test run once per case of the matrix; the rest hang on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fusion_bench.algorithms.base import Algorithm
    from fusion_bench.cases import Case, CaseResult, Session
    from fusion_bench.modelpools.base import ModelPool
    from fusion_bench.taskpools.base import TaskPool


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """One algorithm on one model pool and task pool; parametrised from the YAML names."""
    if not hasattr(request, "param"):
        raise pytest.UsageError("the fixture 'case' can only be used by a test function, directly or through a fixture")
    parameter: Case = request.param
    return parameter


@pytest.fixture(scope="session")
def fusion_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """What the cases of one process share: loaded pools, bound task pools, the tracking store."""
    from fusion_bench.pytest_plugin import options as command_line
    from fusion_bench.pytest_plugin.parametrize import case_of
    from fusion_bench.pytest_plugin.progress import say
    from fusion_bench.pytest_plugin.store import open_session

    with open_session(request.config) as session:
        if command_line.read(request.config).save_models in ("best", "all"):
            cases = [case for case in map(case_of, request.session.items) if case is not None]
            for line in session.announcements(list(dict.fromkeys(cases))):
                say(request.config, line)
        yield session


@pytest.fixture
def tracked_run(case: Case, fusion_session: Session, request: pytest.FixtureRequest) -> Callable[[], CaseResult]:
    """Runs the case: fuse, evaluate, track; returns the result and puts it on the leaderboard at the end.

    With ``--baseline`` it fails where the result is not as good as the case's baseline.
    """
    from fusion_bench import cases
    from fusion_bench.pytest_plugin import gate, results
    from fusion_bench.pytest_plugin.progress import progress_of

    def again(result: CaseResult) -> dict[str, float]:
        from fusion_bench.cases.run import fuse_again

        return fuse_again(case, fusion_session, result)

    def run() -> CaseResult:
        __tracebackhide__ = True
        result = cases.run_case(case, fusion_session, progress_of(request.node))
        results.attach(request.node, result.to_dict())
        gate.check(request.node, result, again)
        return result

    return run


@pytest.fixture
def algorithm(case: Case, fusion_session: Session) -> Algorithm:
    """The case's algorithm with its overrides and seed, validated; fields left to a search have their defaults."""
    from fusion_bench import registry
    from fusion_bench.cases.prepare import seeded

    fields = seeded(fusion_session.config(case)["algorithm"], case)
    built: Algorithm = registry.build("algorithm", fields, plugins=fusion_session.plugins)
    return built


@pytest.fixture
def modelpool(case: Case, fusion_session: Session) -> ModelPool:
    """The case's model pool, loaded once per process."""
    return fusion_session.modelpool(case)


@pytest.fixture
def taskpool(case: Case, fusion_session: Session) -> TaskPool:
    """The case's task pool, loaded once per process."""
    return fusion_session.taskpool(case)
