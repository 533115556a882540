"""Figures of results: one case against its bounds, and methods against each other.

They are drawn on `matplotlib.figure.Figure` objects, not through pyplot: nothing global is set, no window opens.
Save them with ``figure.savefig(path)``; every format of matplotlib's Agg, SVG and PDF writers works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.leaderboard import Board, Row, leaderboards

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours (2008), told apart by colour-blind readers
_METHOD, _BASE, _EXPERT = "#0072B2", "#8A8A8A", "#D55E00"
_GRID = "#E3E3E3"


def case_figure(
    result: Mapping[str, Any],
    *,
    base: Mapping[str, float] | None = None,
    experts: Mapping[str, float] | None = None,
) -> Figure:
    """Accuracy per task of one case, between the base model and each task's expert.

    Args:
        result: a case result as a dictionary.
        base: accuracy per task of the base model; left out of the figure where absent.
        experts: accuracy per task of that task's expert; left out where absent.

    Raises:
        FusionBenchError: the result holds no accuracy.

    Example:
        >>> result = {"case": {"algorithm": "ties", "modelpool": "p", "taskpool": "t"}, "kind": "merging",
        ...           "tasks": ["mnist"], "metrics": {"accuracy/mnist": 0.5, "accuracy/mean": 0.5}}
        >>> case_figure(result, base={"mnist": 0.3}, experts={"mnist": 0.9}).axes[0].get_title(loc="left")
        'ties: accuracy per task'
    """
    (board,) = leaderboards([{**result, "references": {}}])  # one row: the bounds come from base and experts
    (row,) = board.rows
    if not row.accuracy:
        raise FusionBenchError(f"no accuracy to draw for {row.name}", hint="the case has evaluated no task")
    tasks = list(row.accuracy)
    axes = _axes(width=8.0, height=1.3 + 0.42 * len(tasks), labels=tasks)
    positions = range(len(tasks))
    spans = {
        y: (100 * base[task], 100 * experts[task])
        for y, task in zip(positions, tasks, strict=True)
        if base and experts and task in base and task in experts
    }
    if spans:
        low, high = zip(*spans.values(), strict=True)
        axes.hlines(list(spans), low, high, color=_GRID, linewidth=5, capstyle="round", zorder=1)
    for source, marker, colour, label in ((base, "s", _BASE, "base"), (experts, "D", _EXPERT, "expert")):
        known = [(100 * source[task], y) for y, task in zip(positions, tasks, strict=True) if source and task in source]
        if known:
            x, y_of = zip(*known, strict=True)
            axes.scatter(x, y_of, marker=marker, s=34, color=colour, label=label, zorder=2)
    values = [100 * row.accuracy[task] for task in tasks]
    axes.scatter(values, list(positions), s=64, color=_METHOD, label=row.name, zorder=3)
    for value, y in zip(values, positions, strict=True):
        axes.annotate(f"{value:.1f}", (value, y), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(list(positions), tasks)
    axes.set_ylim(len(tasks) - 0.4, -0.7)
    axes.set_xlim(0, 102)
    axes.set_xlabel("accuracy on the test split, %")
    _title(axes, f"{row.name}: accuracy per task", f"{board.title}, mean {100 * row.mean:.1f} %")
    _legend_below(axes)
    return axes.figure  # type: ignore[return-value]


def comparison_figure(results: Iterable[Mapping[str, Any]]) -> Figure:
    """Mean accuracy of every case of one pool, best first, with 95 % intervals; reference rows are lines across.

    Args:
        results: case results as dictionaries, all of one model pool and task pool.

    Raises:
        FusionBenchError: no result, or results of several pools, which no one axis can compare.
    """
    boards = leaderboards(results)
    if len(boards) != 1:
        titles = ", ".join(board.title for board in boards) or "none"
        raise FusionBenchError(
            f"a comparison needs the results of exactly one model pool and task pool; given: {titles}",
            hint="draw one figure per board of fusion_bench.report.leaderboards(results)",
        )
    (board,) = boards
    methods = [row for row in board.rows if not row.is_reference] or list(board.rows)
    bounds = [row for row in board.rows if row.is_reference and row not in methods]
    axes = _axes(width=8.0, height=1.5 + 0.36 * len(methods))
    _bounds(axes, bounds)
    for y, row in enumerate(methods):
        low, high = row.interval or (row.mean, row.mean)
        axes.plot([100 * low, 100 * high], [y, y], color=_METHOD, linewidth=2, alpha=0.55, zorder=2)
        axes.scatter([100 * row.mean], [y], s=46, color=_METHOD, zorder=3)
        axes.annotate(
            f"{100 * row.mean:.1f}", (100 * high, y), (6, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(methods)), [row.title for row in methods])
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_xlim(*_span(board))
    axes.set_xlabel("mean accuracy over the tasks, %")
    with_interval = any(row.interval for row in methods)
    _title(axes, board.title, "95 % intervals over the test examples" if with_interval else "")
    return axes.figure  # type: ignore[return-value]


def _axes(*, width: float, height: float, labels: Sequence[str] | None = None) -> Axes:
    """Axes with a margin for ``labels`` on the left and a legend below; without labels the margins are solved for.

    Every case draws a figure, and solving draws it twice: half of what a case costs beside its work.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout=None if labels else "constrained", facecolor="white")
    axes: Axes = figure.subplots()
    if labels:
        left = 0.3 + 0.085 * max(map(len, labels))  # inches; 10 points a letter at most
        figure.subplots_adjust(left / width, 0.85 / height, 1 - 0.25 / width, 1 - 0.4 / height)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return axes


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    if subtitle:
        axes.set_title(subtitle, loc="right", fontsize=9, color="#555555")


def _legend_below(axes: Axes) -> None:
    axes.figure.legend(loc="lower center", ncols=3, frameon=False, fontsize=9)


def _bounds(axes: Axes, bounds: Sequence[Row]) -> None:
    # names stand at the top of their lines; where two lines are close the later name moves up a row
    placed: list[float] = []
    for row in sorted(bounds, key=lambda row: row.mean):
        x = 100 * row.mean
        level = sum(abs(x - other) < 9 for other in placed)
        placed.append(x)
        axes.axvline(x, color=_EXPERT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{row.name} {x:.1f}",
            (x, 0),
            (0, 4 + 11 * level),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_EXPERT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )


def _span(board: Board) -> tuple[float, float]:
    lows = [100 * (row.interval[0] if row.interval else row.mean) for row in board.rows]
    highs = [100 * (row.interval[1] if row.interval else row.mean) for row in board.rows]
    margin = max(2.0, 0.12 * (max(highs) - min(lows)))
    return max(0.0, min(lows) - margin), min(100.0 + margin, max(highs) + margin)
