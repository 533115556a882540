"""What the page computes in the browser is what `report.comparison` and `metrics` compute here."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fusion_bench.metrics.mcnemar import mcnemar_p_values
from fusion_bench.metrics.sign_flip import sign_flip_test
from fusion_bench.report.comparison import compare_runs, compare_seeds
from fusion_bench.report.page import build_payload, write_report
from tests.report.page.made_runs import TASKS, World, made_run

BELOW = 1e-12  # smaller p-values are shown as a bound


@pytest.fixture(scope="module")
def compared(world):
    """Runs that differ much, little, on single examples, and not at all."""
    skills = {"far": 0.9, "near_a": 0.6, "near_b": 0.605, "other": 0.62, "low": 0.3}
    runs = [made_run(name, world.predictions(skill)) for name, skill in skills.items()]
    runs.append(made_run("twin", world.predictions(0.6)))
    runs.append(made_run("nearly", world.predictions(0.6, noise=3)))
    runs.append(made_run("harmed", world.predictions(0.6, harm={"letters": 0.05})))
    return runs


@pytest.fixture(scope="module")
def tab(compared, browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("arithmetic") / "report.html"
    write_report(compared, [], path)
    found = browser.new_page()
    found.goto(path.as_uri())
    yield found
    found.close()


def test_all_pairs_agree_with_the_comparison_of_two_runs(tab, compared):
    (board,) = build_payload(compared).content["boards"]
    runs = {run.label: run for run in compared}
    clusters = {"letters": compared[0].said["letters"].cluster}
    checked = {"exact": 0, "bound": 0}
    for a, b in itertools.permutations(range(len(board["rows"])), 2):
        found = tab.evaluate("([a, b]) => window.fusionBench.compare(0, a, b)", [a, b])
        first, second = (runs[board["rows"][at]["name"]].outcomes() for at in (a, b))
        expected = compare_runs(first, second, clusters=clusters).lines
        assert [line["name"] for line in found] == [line.name for line in expected] == [*TASKS, "mean"]
        for mine, theirs in zip(found, expected, strict=True):
            for name in ("difference", "low", "high"):
                assert mine[name] == pytest.approx(getattr(theirs, name), abs=1e-9), (mine["name"], name)
            assert (mine.get("gained"), mine.get("lost")) == (theirs.gained, theirs.lost)
            if theirs.p_value < BELOW:
                assert mine["p"] < BELOW * len(expected)
                checked["bound"] += 1
            else:
                # both put laws on a grid where they are too many to list, and may be too large by 1 part in 100
                assert mine["p"] == pytest.approx(theirs.p_value, rel=0.011), mine["name"]
                checked["exact"] += 1
    assert min(checked.values()) > 20


@pytest.fixture(scope="module")
def seeded(world):
    """Methods with two, three and five seeds, one of which hardly depends on them, and two without chance."""
    runs = [made_run(name, world.predictions(skill)) for name, skill in (("plain", 0.6), ("far", 0.8))]
    for name, skill, count, step in (("two", 0.6, 2, 0.01), ("three", 0.62, 3, 0.02), ("still", 0.55, 5, 0.0)):
        for seed in range(count):
            said = world.predictions(skill + step * seed, noise=100 + seed)
            runs.append(made_run(name, said, seed=seed))
    return runs


def test_methods_with_seeds_agree_with_their_comparison(seeded, browser, tmp_path):
    (board,) = build_payload(seeded).content["boards"]
    write_report(seeded, [], tmp_path / "report.html")
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    clusters = {"letters": seeded[0].said["letters"].cluster}
    sides = {}
    for run in seeded:
        sides.setdefault(run.result["case"]["algorithm"], []).append(run.outcomes())
    assert {row["name"]: len(row["members"]) for row in board["rows"]} == {
        name: len(runs) if len(runs) > 1 else 0 for name, runs in sides.items()
    }
    checked = 0
    for a, b in itertools.permutations(range(len(board["rows"])), 2):
        names = [board["rows"][at]["name"] for at in (a, b)]
        if not any(len(sides[name]) > 1 for name in names):
            continue
        found = tab.evaluate("([a, b]) => window.fusionBench.compare(0, a, b)", [a, b])
        first, second = (sides[name] if len(sides[name]) > 1 else sides[name][0] for name in names)
        expected = compare_seeds(first, second, clusters=clusters).lines
        for mine, theirs in zip(found, expected, strict=True):
            assert mine["name"] == theirs.name
            for name in ("difference", "low", "high", "first", "second"):
                assert mine[name] == pytest.approx(getattr(theirs, name), abs=1e-9), (names, theirs.name, name)
            assert mine["p"] == pytest.approx(theirs.p_value, rel=1e-4), (names, theirs.name)
            checked += 1
    assert checked > 80
    first, second = board["rows"][1]["members"][:2] if board["rows"][1]["members"] else board["rows"][2]["members"][:2]
    pair = tab.evaluate("([a, b]) => window.fusionBench.compare(0, a, b)", [first["at"], second["at"]])
    runs = {run.label: run.outcomes() for run in seeded}
    (*_, mean) = compare_runs(runs[first["name"]], runs[second["name"]], clusters=clusters).lines
    assert (pair[-1]["low"], pair[-1]["high"]) == (pytest.approx(mean.low), pytest.approx(mean.high))
    tab.close()


@pytest.mark.parametrize("beyond", [0.9, 0.3, 0.05, 1e-3, 1e-8, 1e-15])
def test_quantiles_far_out(tab, beyond):
    normal = tab.evaluate("beyond => window.fusionBench.critical(Infinity, beyond)", beyond)
    assert normal == pytest.approx(stats.norm.isf(beyond / 2), rel=1e-8)
    assert tab.evaluate("beyond => window.fusionBench.critical(2, beyond)", beyond) == pytest.approx(
        stats.t.isf(beyond / 2, 2), rel=1e-8
    )


@pytest.mark.parametrize("df", [1.0, 1.7, 2.0, 5.5, 24.0, 300.0, 1e6])
def test_quantiles_of_students_t(tab, df):
    assert tab.evaluate("df => window.fusionBench.critical(df)", df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)


def test_without_degrees_of_freedom_the_normal_quantile(tab):
    assert tab.evaluate("() => window.fusionBench.critical(Infinity)") == pytest.approx(
        stats.norm.ppf(0.975), rel=1e-15
    )


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 1), (3, 3), (40, 61), (150, 101), (0, 30)])
def test_one_task_is_mcnemars_exact_test(tab, gained, lost):
    units = [{"n": 1000, "sums": [1] * gained + [-1] * lost}]
    expected = mcnemar_p_values(gained, lost) if gained + lost else 1.0
    assert tab.evaluate("units => window.fusionBench.signFlip(units)", units) == pytest.approx(
        float(expected), rel=1e-9
    )


def test_tasks_of_several_sizes_with_sources(tab):
    rng = np.random.default_rng(0)
    compared = 0
    for trial in range(40):
        differences, clusters, units = {}, {}, []
        for task in range(int(rng.integers(1, 6))):
            n = int(rng.integers(40, 400))
            values = rng.choice([-1.0, 0.0, 1.0], size=n, p=[0.04 + 0.002 * trial, 0.9 - 0.002 * trial, 0.06])
            differences[str(task)] = values
            if task % 2:
                clusters[str(task)] = rng.integers(12, size=n)
                units.append({"n": n, "sums": [int(values[clusters[str(task)] == g].sum()) for g in range(12)]})
            else:
                units.append({"n": n, "sums": values[values != 0].astype(int).tolist()})
        expected = sign_flip_test(differences, clusters=clusters or None)
        found = tab.evaluate("units => window.fusionBench.signFlip(units)", units)
        assert found == pytest.approx(expected, rel=0.011)
        compared += expected < 0.9
    assert compared > 20


def test_a_bound_is_a_bound(tab):
    """Far out the page gives Hoeffding's bound, which must lie above the p-value and below what it is shown as."""
    units = [{"n": 900, "sums": [1] * 300}]
    found = tab.evaluate("units => window.fusionBench.signFlip(units)", units)
    assert sign_flip_test({"t": [1.0] * 300 + [0.0] * 600}) <= found < BELOW
    assert math.isfinite(found)


def test_a_large_board_is_compared_at_once(opened, tmp_path):
    """Eight tasks of two thousand examples, in well under a second on an idle machine."""
    world = World(tasks=tuple("abcdefgh"), size=2000)
    runs = [made_run(name, world.predictions(skill)) for name, skill in (("one", 0.60), ("two", 0.61))]
    write_report(runs, [], tmp_path / "large.html")
    tab = opened(tmp_path / "large.html")
    seconds = (
        tab.evaluate(
            "() => { const t = performance.now(); window.fusionBench.compare(0, 0, 1); return performance.now() - t; }"
        )
        / 1000
    )
    assert seconds < 5
