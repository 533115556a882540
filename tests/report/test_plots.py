from __future__ import annotations

import sys

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.plots import case_figure, comparison_figure
from tests.report.conftest import TASKS, make_result


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_case_figure_shows_every_task_between_its_bounds(results, tmp_path):
    base = dict.fromkeys(TASKS, 0.5)
    experts = dict.fromkeys(TASKS, 0.9)
    figure = case_figure(results[3], base=base, experts=experts)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(TASKS)
    assert texts(figure)[0] == "42.0"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"base", "expert", "ties"}
    figure.savefig(tmp_path / "case.png")
    assert (tmp_path / "case.png").stat().st_size > 5000


def test_comparison_figure_has_methods_best_first_and_references_as_lines(results):
    figure = comparison_figure(results)
    axes = figure.axes[0]
    assert axes.get_yticklabels()[0].get_text() == "iso_c"
    assert {"pretrained 55.0", "experts 84.0"} <= set(texts(figure))
    low, high = axes.get_xlim()
    assert low < 55 < 84 < high


def test_labels_stay_inside_the_figure(results):
    figure = comparison_figure([*results, make_result("a_rather_long_name[scaling=0.25]", "merging", 0.5)])
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y0 >= -0.01
    assert box.y1 <= height + 0.01


def test_results_of_two_pools_are_not_drawn_on_one_axis(results):
    with pytest.raises(FusionBenchError, match="other/mini8"):
        comparison_figure([*results, make_result("ties", "merging", 0.3, modelpool="other")])
    with pytest.raises(FusionBenchError, match="none"):
        comparison_figure([])


def test_a_case_without_accuracy_is_refused(results):
    with pytest.raises(FusionBenchError, match="ties"):
        case_figure({**results[3], "tasks": []})


def test_pyplot_stays_unimported():
    import subprocess

    code = (
        "import sys; from fusion_bench.report.plots import comparison_figure as c; "
        "from tests.report.conftest import make_result as m; c([m('a', 'merging', .5)]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=_root()).returncode == 0


def _root():
    from pathlib import Path

    return Path(__file__).parents[2]


def test_a_result_that_carries_its_references_is_still_one_case(results):
    references = {"pretrained": dict.fromkeys(TASKS, 0.4), "experts": dict.fromkeys(TASKS, 0.8)}
    figure = case_figure({**results[3], "references": references}, base=references["pretrained"])
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"base", "ties"}
