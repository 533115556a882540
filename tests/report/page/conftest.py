"""Made-up runs, a store of them, and a browser to read the page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.made_runs import TASKS, MadeRun, World, made_run, nights

METHODS = {"pretrained": 0.35, "experts": 0.95, "ties": 0.6, "iso_c": 0.72, "slerp": 0.58, "dare_ties": 0.61}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def runs(world: World) -> list[MadeRun]:
    """Six methods in seven nights, of which iso_c is worse from the fifth on; a sweep, and names that bite."""
    found = nights(METHODS, 7, world=world, harmed="iso_c", since=4, harm=0.2)
    for value, skill in ((0.1, 0.5), (0.3, 0.6), (1.0, 0.4)):
        override = f"algorithm.scaling={value}"
        found.append(made_run("ties", world.predictions(skill), night=6, overrides=[override], fusion_seconds=0.5))
    tried = [[{"scaling": value}, accuracy] for value, accuracy in ((0.1, 0.5), (0.3, 0.62), (0.5, 0.58))]
    search = {"best": {"scaling": 0.3}, "tried": tried}
    found.append(made_run("tsv_m", world.predictions(0.71), night=6, search=search, fusion_seconds=2.0))
    for name in ("<script>alert(1)</script>", "\"quoted\" & 'co'", "合併 ünï"):
        found.append(made_run(name, world.predictions(0.5), night=6))
    return found


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made: that takes seconds."""
    from fusion_bench.tracking import Store, locate_store

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(locate_store(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def page_path(runs: list[MadeRun], world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two boards: the made-up nights, with pictures and an analysis; and a single run on other examples."""
    from fusion_bench.report.page import write_report
    from fusion_bench.report.page.panels.analysis import analysis_panels
    from tests.report.page.test_pictures import Task

    table = {
        "measure": "cosine",
        "rows": ["mnist"],
        "columns": list(TASKS),
        "values": [[1.0, 0.1, 0.2, -0.3]],
        "centre": 0.0,
    }
    tables = {"cosines": {**table, "title": "cosines", "view": "matrix"}}
    tables["spectrum"] = {**table, "title": "spectrum", "view": "lines", "columns": [0, 1, 2, 3]}
    extra = analysis_panels([{"case": {"analysis": "x", "modelpool": "made", "taskpool": "up4"}, "tables": tables}])
    stray = made_run("stray", world.predictions(0.4), data="other", night=9)
    path = tmp_path_factory.mktemp("page") / "report.html"
    tasks = {task: Task(runs[0].data[task] + "rest") for task in TASKS}
    write_report([*runs, stray], ["run 1 (x): FAILED"], path, load=lambda *pools: tasks, extra=extra)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window; the test is skipped where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    program = os.environ.get("FUSION_BENCH_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        pytest.skip("no browser: install chromium, or name one in FUSION_BENCH_CHROMIUM")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=program, args=list(FLAGS))
        yield found
        found.close()


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """``opened(path, part)``: a tab with the file, once it is ready; fails for an error or a request of the page."""
    contexts = []
    wrong: list[str] = []

    def open_page(path: Path, part: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: wrong.append(request.url) if request.url.startswith(("http", "ws")) else None)
        tab.goto(path.as_uri() + (f"#{part}" if part else ""))
        tab.wait_for_selector("html[data-ready=yes]")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
