"""Figures of analyses: heat maps and lines, drawn from the tables of ``analysis.json``.

As in `plots`, they are `matplotlib.figure.Figure` objects, made without pyplot.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

# Okabe and Ito's colours (2008), told apart by colour-blind readers; with the dashes, in print without colour as well
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_PARTING = ("#0072B2", "#FAFAFA", "#D55E00")
_GROWING = ("#FAFAFA", "#9CCBE8", "#0072B2", "#003B5C")  # each darker than the last, so that grey print keeps the order
_GRID, _QUIET = "#E3E3E3", "#555555"
_LEADER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}
_MOST_WRITTEN = 14  # columns whose cells still have room for a number
_CELL = (0.62, 0.27)  # inches
_HEAD = 0.66  # inches for title and subtitle


def analysis_figures(document: Mapping[str, Any]) -> dict[str, Figure]:
    """A figure for each table of an analysis, by the table's name.

    Args:
        document: the content of ``analysis.json``.

    Raises:
        FusionBenchError: a table whose view is not known here, or that is empty.

    Example:
        >>> table = {"title": "cosines", "measure": "cosine", "rows": ["a"], "columns": ["a"], "values": [[1.0]],
        ...          "view": "matrix"}
        >>> document = {"case": {"modelpool": "p", "taskpool": "t"}, "tables": {"cosines": table}}
        >>> [figure.get_suptitle() for figure in analysis_figures(document).values()]
        ['cosines']
    """
    where = f"{document['case']['modelpool']}/{document['case']['taskpool']}"
    return {name: table_figure(table, where=where) for name, table in document["tables"].items()}


def table_figure(table: Mapping[str, Any], *, where: str = "") -> Figure:
    """One table as its ``view`` says: a heat map, or a line for each row.

    Args:
        table: `fusion_bench.analysis.table.Table` as a dictionary.
        where: the pools, for the subtitle.

    Raises:
        FusionBenchError: see `analysis_figures`.
    """
    views = {"matrix": _matrix, "lines": _lines}
    if table["view"] not in views:
        raise FusionBenchError(
            f"no figure for the view {table['view']!r} of {table['title']!r}", hint="matrix or lines"
        )
    if not table["rows"] or not table["columns"]:
        raise FusionBenchError(f"nothing to draw: the table {table['title']!r} is empty")
    return views[table["view"]](table, where)


def _matrix(table: Mapping[str, Any], where: str) -> Figure:
    import numpy as np

    rows, columns = [str(label) for label in table["rows"]], [str(label) for label in table["columns"]]
    values = np.array(table["values"], dtype=float)
    written = len(columns) <= _MOST_WRITTEN
    digits = table.get("digits", 2)
    texts = [[f"{round(value, digits) + 0.0:.{digits}f}" for value in row] for row in values]  # and never "-0.00"
    width = max(_CELL[0], 0.085 * max(len(t) for row in texts for t in row) + 0.14) if written else 0.3
    width = max(3.2 / len(columns), width)
    slanted = max(map(len, columns)) * 0.085 > width
    turned = 90 if slanted and width < _CELL[0] / 2 else 40 if slanted else 0
    left = 0.35 + 0.078 * max(map(len, rows)) + (0.25 if table.get("row_axis") else 0)
    tall = 0.1 + 0.078 * max(map(len, columns)) * math.sin(math.radians(turned)) if slanted else 0.25
    top = _HEAD + tall + (0.25 if table.get("column_axis") else 0)
    axes = _axes(
        inner=(width * len(columns), max(0.8, _CELL[1] * len(rows))),
        margins=(left, 1.0 + (0.2 if turned == 40 else 0), top, 0.0),
        note=table.get("note", ""),
    )
    colours, scale = _scale(table, values)
    axes.pcolormesh(values, cmap=colours, norm=scale, edgecolors="white", linewidth=1.0)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=9, rotation=turned)
    if turned == 40:
        for label in axes.get_xticklabels():
            label.set(ha="left", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=9)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if written:
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                ink = _ink(colours(scale(value)))
                axes.text(x + 0.5, y + 0.5, texts[y][x], ha="center", va="center", fontsize=8, color=ink)
    _labels(axes, table)
    _bar(axes, colours, scale, table)
    _title(axes, table["title"], where)
    return axes.figure  # type: ignore[return-value]


def _lines(table: Mapping[str, Any], where: str) -> Figure:
    right = 0.6 + 0.085 * max(len(str(name)) for name in table["rows"])
    axes = _axes(inner=(6.2, 3.6), margins=(0.75, right, _HEAD, 0.6), note=table.get("note", ""))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    at = [float(x) for x in table["columns"]]
    marker = "o" if len(at) <= 12 else None
    for i, (name, row) in enumerate(zip(table["rows"], table["values"], strict=True)):
        dash = _DASHES[(i // len(_COLOURS) + i) % len(_DASHES)]
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(at, row, color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=3.5, label=name)
    lows = [value for row in table["values"] for value in row]
    low, high = table.get("low"), table.get("high")
    room = 0.05 * ((max(lows) if high is None else high) - (min(lows) if low is None else low) or 1.0)
    axes.set_ylim(min(lows) - room if low is None else low, max(lows) + room if high is None else high + room / 2)
    axes.margins(x=0.02)
    axes.set_ylabel(table["measure"])
    axes.set_xlabel(table.get("column_axis", ""))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _end_labels(axes, at[-1], {str(n): float(r[-1]) for n, r in zip(table["rows"], table["values"], strict=True)})
    _title(axes, table["title"], where)
    return axes.figure  # type: ignore[return-value]


def _axes(*, inner: tuple[float, float], margins: tuple[float, float, float, float], note: str) -> Axes:
    """Axes of ``inner`` inches with margins left, right, top, bottom, and below them the note, wrapped."""
    from matplotlib.figure import Figure

    left, right, top, bottom = margins
    width = left + inner[0] + right
    lines = textwrap.wrap(note, max(30, int((width - 0.4) / 0.066)))
    bottom += 0.2 + 0.16 * len(lines) + (0.1 if lines else 0)
    height = top + inner[1] + bottom
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    axes: Axes = figure.add_axes((left / width, bottom / height, inner[0] / width, inner[1] / height))
    figure.text(0.2 / width, 0.12 / height, "\n".join(lines), fontsize=8, color=_QUIET, va="bottom", linespacing=1.35)
    return axes


def _scale(table: Mapping[str, Any], values: Any) -> tuple[Colormap, Normalize]:
    """Colours: two that part at the centre, where the table has one, else one that darkens."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    low, high, centre = table.get("low"), table.get("high"), table.get("centre")
    if centre is None:
        low = float(values.min()) if low is None else low
        high = float(values.max()) if high is None else high
        colours = LinearSegmentedColormap.from_list("growing", _GROWING)
        return colours, Normalize(low, high if high > low else low + 1.0)
    shown = values
    if table["rows"] == table["columns"] and len(values) > 1:  # the diagonal is known and would drown the rest
        import numpy as np

        shown = values[~np.eye(len(values), dtype=bool)]
    reach = max(abs(float(shown.min()) - centre), abs(float(shown.max()) - centre)) or 1.0
    low = centre - reach if low is None else low
    high = centre + reach if high is None else high
    return LinearSegmentedColormap.from_list("parting", _PARTING), Normalize(low, high)


def _bar(axes: Axes, colours: Colormap, scale: Normalize, table: Mapping[str, Any]) -> None:
    from matplotlib.cm import ScalarMappable

    figure: Any = axes.figure
    box, (width, height) = axes.get_position(), _inches(axes)
    tall = min(box.height, 2.4 / height)
    place = figure.add_axes((box.x1 + 0.22 / width, box.y1 - tall, 0.13 / width, tall))
    bar = figure.colorbar(ScalarMappable(scale, colours), cax=place)
    bar.outline.set_visible(False)
    place.tick_params(length=0, labelsize=8)
    place.set_ylabel(table["measure"], fontsize=8, color=_QUIET)


def _labels(axes: Axes, table: Mapping[str, Any]) -> None:
    axes.set_ylabel(table.get("row_axis", ""), fontsize=9, color=_QUIET)
    axes.set_xlabel(table.get("column_axis", ""), fontsize=9, color=_QUIET, labelpad=7)


def _end_labels(axes: Axes, x: float, ends: Mapping[str, float]) -> None:
    """Names at the ends of the lines, moved apart where they would overlap, each in its line's colour."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.048
    order = sorted(ends, key=lambda name: ends[name])
    places = spread([ends[name] for name in order], gap, low=low, high=high)
    colours = dict(zip(ends, (line.get_color() for line in axes.get_lines()), strict=True))
    for name, y in zip(order, places, strict=True):
        axes.annotate(
            name,
            (x, ends[name]),
            xytext=(1.06, (y - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colours[name],
            arrowprops={"color": colours[name], **_LEADER},
            annotation_clip=False,
        )


def spread(values: Sequence[float], gap: float, *, low: float, high: float) -> list[float]:
    """Rising positions at least ``gap`` apart, near rising values, within ``low`` and ``high`` where they fit.

    Example:
        >>> spread([0.0, 0.1, 3.0], 1.0, low=0.0, high=5.0)
        [0.0, 1.0, 3.0]
    """
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else max(value, low))
    top = high
    for i in reversed(range(len(places))):  # what was pushed over the top pushes back
        places[i] = min(places[i], top)
        top = places[i] - gap
    return places


def _inches(axes: Axes) -> tuple[float, float]:
    figure: Any = axes.figure
    width, height = figure.get_size_inches()
    return float(width), float(height)


def _ink(colour: tuple[float, float, float, float]) -> str:
    """Black or white, whichever stands out more on a colour (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if luminance > 0.179 else "white"


def _title(axes: Axes, title: str, subtitle: str) -> None:
    figure: Any = axes.figure
    width, height = _inches(axes)
    figure.suptitle(title, x=0.2 / width, y=1 - 0.14 / height, ha="left", va="top", fontweight="bold", fontsize=11)
    figure.text(0.2 / width, 1 - 0.38 / height, subtitle, fontsize=9, color=_QUIET, va="top")
