"""A page of 500 runs stays small and works; how fast it is stands in bench/speed/bench_results.py."""

from __future__ import annotations

import pytest

from fusion_bench.cli.report import main
from tests.report.page.made_runs import five_hundred_runs
from tests.report.page.made_store import write_store


@pytest.fixture(scope="module")
def five_hundred(empty_database, tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("five_hundred"), empty_database, five_hundred_runs())


def test_five_hundred_runs(five_hundred, tmp_path, opened):
    out = tmp_path / "report.html"
    assert main(["--tracking-uri", five_hundred, "--out", str(out)]) == 0
    tab = opened(out)
    tab.locator("#b0 table.leaderboard th button.sort").first.click()
    assert tab.locator("#b0 table.leaderboard tbody th").first.text_content() == "dare_0"
    tab.locator("#b0-tradeoff").scroll_into_view_if_needed()
    tab.wait_for_selector("#b0-tradeoff .plot svg.main-svg")
    assert out.stat().st_size < 8_000_000
