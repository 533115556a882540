from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from fusion_bench.analysis.table import Table
from fusion_bench.errors import FusionBenchError
from fusion_bench.report.analysis_figures import _scale, analysis_figures, spread, table_figure

NAMES = ("mnist", "a_rather_long_task_name", "hangul")


def matrix(**more) -> dict:
    values = [[1.0, 0.02, -0.0001], [0.02, 1.0, -0.3], [-0.0001, -0.3, 1.0]]
    return Table.of("cosines", "cosine", NAMES, NAMES, values, digits=2, note="Near 0: apart.", **more).to_dict()


def lines(**more) -> dict:
    values = [[4.0, 2.0, 1.0], [3.0, 2.5, 1.01], [2.0, 1.5, 0.99]]
    fields = {"column_axis": "t", "view": "lines", "low": 0.0, "note": "Validation split. " * 12}
    return Table.of("loss", "loss, nats", NAMES, [0.0, 0.5, 1.0], values, **{**fields, **more}).to_dict()


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]


def assert_all_inside(figure) -> None:
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert (box.x0, box.y0) >= (-0.01, -0.01)
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def test_a_figure_for_each_table() -> None:
    document = {"case": {"modelpool": "p", "taskpool": "t"}, "tables": {"cosines": matrix(), "loss": lines()}}
    found = analysis_figures(document)
    assert list(found) == ["cosines", "loss"]
    assert [figure.get_suptitle() for figure in found.values()] == ["cosines", "loss"]
    assert all("p/t" in texts(figure) for figure in found.values())


def test_a_heat_map_says_every_number_and_never_minus_zero() -> None:
    figure = table_figure(matrix(centre=0.0))
    cells, bar = figure.axes
    assert [text.get_text() for text in cells.texts] == "1.00 0.02 0.00 0.02 1.00 -0.30 0.00 -0.30 1.00".split()
    assert [label.get_text() for label in cells.get_xticklabels()] == list(NAMES)
    assert [label.get_text() for label in cells.get_yticklabels()] == list(NAMES)
    assert cells.get_ylim() == (3, 0)  # the first row on top
    assert bar.get_ylabel() == "cosine"
    assert any("Near 0: apart." in text for text in texts(figure))


def test_two_colours_part_at_the_centre_and_the_known_diagonal_does_not_drown_the_rest() -> None:
    table = matrix(centre=0.0)
    _, scale = _scale(table, np.array(table["values"]))
    assert (scale.vmin, scale.vmax) == (-0.3, 0.3)
    other = {**table, "columns": ["x", "y", "z"]}  # no diagonal is known here
    assert _scale(other, np.array(table["values"]))[1].vmax == 1.0
    colours, scale = _scale(matrix(centre=0.5, low=0.0, high=1.0), np.zeros((3, 3)))
    red, green, blue, _ = colours(scale(0.5))
    assert min(red, green, blue) > 0.95
    assert (scale.vmin, scale.vmax) == (0.0, 1.0)


def test_growing_colours_darken_so_that_grey_print_keeps_the_order() -> None:
    colours, scale = _scale(matrix(low=0.0, high=1.0), np.zeros((3, 3)))
    luminance = [np.dot(colours(scale(x))[:3], (0.2126, 0.7152, 0.0722)) for x in np.linspace(0, 1, 50)]
    assert (np.diff(luminance) < 0).all()


def test_numbers_stand_out_on_their_cells() -> None:
    table = Table.of("t", "m", ["r"], [str(i) for i in range(11)], [np.linspace(0, 1, 11)]).to_dict()
    figure = table_figure(table)
    colours, scale = _scale(table, np.array(table["values"]))

    def luminance(colour) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for text, value in zip(figure.axes[0].texts, table["values"][0], strict=True):
        ground, ink = luminance(colours(scale(value))), 0.0 if text.get_color() == "black" else 1.0
        contrast = (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05)
        assert contrast >= 4.5, value  # WCAG 2.1, level AA


@pytest.mark.parametrize("values", [[[0.0]], [[3.0]], [[-1.0]]])
@pytest.mark.parametrize("centre", [None, 0.0])
def test_a_table_of_one_value_has_a_scale(values: list[list[float]], centre: float | None) -> None:
    table = Table.of("t", "m", ["a"], ["b"], values, centre=centre).to_dict()
    figure = table_figure(table)
    assert_all_inside(figure)


@pytest.mark.parametrize("columns", [1, 2, 8, 14, 40])
@pytest.mark.parametrize("rows", [1, 25])
def test_labels_stay_inside_and_wide_tables_are_not_written_full(rows: int, columns: int) -> None:
    values = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    names = [f"visual.stages.{i}.blocks.0.mlp.fc1.weight" for i in range(rows)]
    across = [f"animals · radicals {i}" for i in range(columns)]
    axes = {"row_axis": "layer", "column_axis": "pair", "note": "word " * 60}
    figure = table_figure(Table.of("a title", "m", names, across, values, digits=1, **axes).to_dict(), where="p/t")
    assert_all_inside(figure)
    assert len(figure.axes[0].texts) == (rows * columns if columns <= 14 else 0)


def test_lines_are_named_where_they_end() -> None:
    figure = table_figure(lines())
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == list(NAMES)
    assert axes.get_lines()[1].get_ydata().tolist() == [3.0, 2.5, 1.01]
    named = {text.get_text(): text for text in axes.texts}
    assert set(named) == set(NAMES)
    for line in axes.get_lines():
        assert named[line.get_label()].get_color() == line.get_color()
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)  # without the leaders
    assert all(above.y0 >= below.y1 - 0.1 * below.height for below, above in itertools.pairwise(boxes))
    assert_all_inside(figure)
    assert axes.get_ylabel() == "loss, nats"
    assert axes.get_ylim()[0] == 0.0


def test_many_lines_differ_in_colour_or_dash() -> None:
    names = [f"e{i}" for i in range(20)]
    table = Table.of("t", "m", names, [0.0, 1.0], [[i, i] for i in range(20)], view="lines").to_dict()
    figure = table_figure(table)
    styles = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].get_lines()}
    assert len(styles) == 20


def test_flat_lines_are_drawn() -> None:
    assert_all_inside(table_figure(lines(low=None) | {"values": [[1.0] * 3] * 3}))


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(FusionBenchError, match="view 'pie' of 'cosines'"):
        table_figure({**matrix(), "view": "pie"})
    with pytest.raises(FusionBenchError, match="'cosines' is empty"):
        table_figure({**matrix(), "rows": [], "values": []})


def test_labels_are_spread_within_bounds() -> None:
    assert spread([5.0, 5.0, 5.0], 1.0, low=0.0, high=5.0) == [3.0, 4.0, 5.0]
    assert spread([0.0, 4.0], 1.0, low=0.0, high=5.0) == [0.0, 4.0]
    assert spread([], 1.0, low=0.0, high=5.0) == []


def test_pyplot_stays_unimported() -> None:
    code = (
        "import sys; from fusion_bench.report.analysis_figures import table_figure as f; "
        "f({'title': 't', 'measure': 'm', 'rows': ['a'], 'columns': ['b'], 'values': [[1.0]], 'view': 'matrix'}); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
