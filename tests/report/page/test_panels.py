from __future__ import annotations

import pytest

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page.groups import grouped
from fusion_bench.report.page.outcomes import detailed, read_outcomes
from fusion_bench.report.page.panels.analysis import analysis_panels
from fusion_bench.report.page.panels.measures import measures
from fusion_bench.report.page.panels.protocols import protocols
from fusion_bench.report.page.panels.published import published
from fusion_bench.report.page.panels.sweeps import searched, sweeps
from fusion_bench.report.page.payload import build_payload
from fusion_bench.report.published import tables
from tests.report.page.made_runs import World, made_run


def _read(runs):
    (group,), _ = grouped(runs)
    return group, read_outcomes(group, detailed(group))[0]


def test_sweeps_hold_what_was_searched_and_what_was_fixed(runs):
    (chart,) = sweeps(*_read(runs)).charts
    lines = {line.name: line for line in chart.series}
    assert chart.x_title == "scaling"
    assert lines["tsv_m"].dashed
    assert (lines["tsv_m"].x, lines["tsv_m"].y, lines["tsv_m"].marked) == ([0.1, 0.3, 0.5], [0.5, 0.62, 0.58], 1)
    fixed = {run.result["case"]["overrides"][0]: run for run in runs if run.result["case"]["overrides"]}
    assert lines["ties"].x == [0.1, 0.3, 1.0]
    assert lines["ties"].y == [
        fixed[f"algorithm.scaling={x}"].result["metrics"]["accuracy/mean"] for x in (0.1, 0.3, 1.0)
    ]
    assert all(
        low < y < high for low, y, high in zip(lines["ties"].low, lines["ties"].y, lines["ties"].high, strict=True)
    )


def test_a_grid_has_a_line_for_each_setting_of_the_other_field():
    tried = [[{"scaling": s, "density": d}, s * d] for s in (1, 2) for d in (0.1, 0.2)]
    found = searched("ties", {"best": {"scaling": 2, "density": 0.2}, "tried": tried})
    assert [(field, line.name, line.x) for field, line in found] == [
        ("scaling", "ties (density=0.1)", [1, 2]),
        ("scaling", "ties (density=0.2)", [1, 2]),
        ("density", "ties (scaling=1)", [0.1, 0.2]),
        ("density", "ties (scaling=2)", [0.1, 0.2]),
    ]
    assert [line.marked for _, line in found] == [None, 1, None, 1]


def test_words_and_single_values_are_no_sweep(world):
    said = world.predictions(0.5)
    runs = [made_run("a", said, overrides=[f"algorithm.mode={mode}"]) for mode in ("sum", "mean")]
    runs += [
        made_run("b", said, overrides=["algorithm.scaling=1"]),
        made_run("c", said, search={"tried": [[{"m": "x"}, 0.5]]}),
    ]
    assert sweeps(*_read(runs)) is None


def test_methods_whose_other_options_differ_are_no_line(world):
    said = world.predictions(0.5)
    pairs = ((0.1, 1), (0.2, 2))
    runs = [made_run("a", said, overrides=[f"algorithm.scaling={s}", f"algorithm.k={k}"]) for s, k in pairs]
    assert sweeps(*_read(runs)) is None


def test_groups_by_number_are_lines_and_others_a_matrix(world):
    runs = [made_run(name, world.predictions(0.5)) for name in ("a", "b")]
    for i, run in enumerate(runs):
        sizes = [
            {"metric": "accuracy", "name": f"{n}_tasks", "points": [0.1 * n, 0.1 * n + 0.1], "of": "subsets"}
            for n in (8, 2)
        ]
        seen = [{"metric": "lost", "name": name, "points": [0.1 + i], "of": "tasks"} for name in ("seen", "unseen")]
        run.result["groups"] = [*sizes, *seen, {"metric": "accuracy", "name": "odd", "points": "?"}]
    lines, matrix = protocols(*_read(runs)).charts
    assert (lines.kind, lines.x_title) == ("lines", "tasks")
    assert lines.series[0].x == [2, 8]
    assert lines.series[0].y == pytest.approx([0.25, 0.85])
    assert (lines.series[0].low, lines.series[0].high) == (pytest.approx([0.2, 0.8]), pytest.approx([0.3, 0.9]))
    assert (matrix.kind, list(matrix.rows), list(matrix.columns)) == ("matrix", ["b", "a"], ["seen", "unseen"])
    assert matrix.z == [[1.1, 1.1], [0.1, 0.1]]


def test_pools_without_a_protocol_have_no_such_panel(runs):
    assert protocols(*_read(runs)) is None


def test_a_run_of_a_published_pool_stands_beside_the_published_row():
    table = next(table for table in tables() if table.name == "clip_vit_b32_ta8")
    tasks = tuple(table.columns.values())
    run = made_run("ties_sum", World(tasks=tasks, size=40).predictions(0.8), pools=("clip_vit_b32_ta8", "ta8"))
    run.result["config"] = {"algorithm": registry.read_config("algorithm", "ties_sum")}
    group, outcomes = _read([run, made_run("unknown", run.said, pools=("clip_vit_b32_ta8", "ta8"))])
    panel = published(group, outcomes, tables())
    (row,) = panel.tables[0].rows
    assert row[0] == "ties_sum"
    assert row[1].startswith("paper 72.")
    half = (outcomes.interval(run.run_id)[1] - outcomes.interval(run.run_id)[0]) / 2
    assert row[1].endswith(f"± {100 * half:.1f}")


def test_pools_that_nobody_published_have_no_such_panel(runs):
    assert published(*_read(runs), tables()) is None


def test_other_measures_are_a_row_a_method_in_the_order_of_the_board(world):
    runs = [made_run(name, world.predictions(skill)) for name, skill in (("a", 0.4), ("b", 0.6), ("none", 0.5))]
    runs += [made_run("dare", world.predictions(0.5, noise=seed), seed=seed) for seed in (0, 1)]
    for number, run in enumerate(runs):
        if run.label != "none":
            run.result["metrics"] |= {"rmse/mnist": 0.5 + number, "mean_angle/letters": 30.0, "loss/mnist": 0.1}
    (board,) = build_payload(runs).content["boards"]
    panel = measures(board["rows"])
    (table,) = panel.tables
    assert table.columns == ["method", "rmse/mnist, m\u00a0↓", "mean_angle/letters, °\u00a0↓"]
    cells = {"a": "0.500", "b": "1.500", "dare": "4.000"}  # the mean over two seeds
    assert table.rows == [[row["name"], cells[row["name"]], "30.00"] for row in board["rows"] if row["name"] in cells]
    assert table.rows[0][0] == "b"
    assert len(table.rows) == 3
    assert "kept of none." in panel.text[0]
    assert board["panels"][0]["title"] == "Other measures"


def test_boards_without_other_measures_have_no_such_panel(runs):
    (board,) = build_payload(runs).content["boards"]
    assert measures(board["rows"]) is None
    assert "measures" not in [panel["key"] for panel in board["panels"]]


def test_of_each_analysis_the_newest_counts():
    def document(value, name="cosines"):
        table = {"title": name, "measure": "m", "rows": ["a"], "columns": [0.0], "values": [[value]], "view": "lines"}
        return {"case": {"analysis": name, "modelpool": "p", "taskpool": "t"}, "tables": {name: table}}

    (panel,) = analysis_panels([document(1.0), document(2.0), document(3.0, "norms")])["p/t"]
    assert [(chart.title, chart.series[0].y) for chart in panel.charts] == [("cosines", [1.0]), ("norms", [3.0])]


def test_a_document_of_another_kind_is_refused():
    with pytest.raises(FusionBenchError, match="not the document of an analysis: KeyError"):
        analysis_panels([{"case": {"analysis": "x"}}])
