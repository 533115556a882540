"""What the report must reach: 500 runs in under 10 s with start-up, under 8 MB, interactive in under 2 s."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.report.page.made_runs import World, made_run, nights
from tests.report.page.made_store import write_store


@pytest.fixture(scope="module")
def five_hundred(empty_database, tmp_path_factory):
    """Thirty methods in fifteen nights, and fifty values of an option: eighty rows, eight tasks of 1,250 examples."""
    world = World(
        tasks=("mnist", "fashion", "animals", "letters", "hangul", "radicals", "scripts", "artists"), size=1225
    )
    methods = {"pretrained": 0.35, "experts": 0.95} | {f"method_{i}": 0.45 + 0.01 * i for i in range(25)}
    methods |= {f"dare_{i}": 0.5 + 0.05 * i for i in range(3)}
    runs = nights(methods, 15, world=world, harmed="method_7", since=9)
    for i in range(50):
        overrides = [f"algorithm.scaling={i / 50}"]
        runs.append(made_run("ties", world.predictions(0.3 + 0.006 * i), night=14, overrides=overrides))
    assert len(runs) == 500
    return write_store(tmp_path_factory.mktemp("five_hundred"), empty_database, runs)


def test_five_hundred_runs(five_hundred, tmp_path, opened):
    out = tmp_path / "report.html"
    code = "import sys; from fusion_bench.cli.report import main; sys.exit(main(sys.argv[1:]))"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, "--tracking-uri", five_hundred, "--out", str(out)], check=True)
    seconds = time.perf_counter() - began

    tab = opened(out)
    ready = tab.evaluate("() => performance.getEntriesByName('ready')[0].startTime") / 1000
    began = time.perf_counter()
    tab.locator("#b0 table.leaderboard th button.sort").first.click()
    first = tab.locator("#b0 table.leaderboard tbody th").first.text_content()
    sorting = time.perf_counter() - began
    tab.locator("#b0-tradeoff").scroll_into_view_if_needed()
    tab.wait_for_selector("#b0-tradeoff .plot svg.main-svg")
    chart = time.perf_counter() - began

    size = out.stat().st_size / 1e6
    print(f"built in {seconds:.1f} s, {size:.1f} MB, interactive after {ready:.2f} s, sorted in {sorting:.2f} s")
    print(f"first chart {chart:.2f} s after the first click")
    assert first == "dare_0"
    assert seconds < 10
    assert size < 8
    assert ready + sorting < 2
