"""What the trials of a case leave in its run: their predictions, and a figure of the protocol's groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.protocols import Group

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fusion_bench.cases.trials import Finished

# Okabe and Ito's blue (2008), as in report.plots
_COLOUR, _GRID = "#0072B2", "#E3E3E3"


def write_trials(finished: Finished, folder: Path, title: str) -> None:
    """``trials.parquet`` and ``protocol.png``; nothing where the protocol reports nothing of its own."""
    if not finished.groups:
        return
    finished.table().to_parquet(folder / "trials.parquet", index=False)
    group_figure(finished.groups, title).savefig(folder / "protocol.png", dpi=110)


def group_figure(groups: Sequence[Group], title: str) -> Figure:
    """The accuracy of each group: its points, their mean, and a line of one standard deviation where it has one.

    Raises:
        FusionBenchError: no group of accuracies.

    Example:
        >>> group_figure([Group("accuracy", "2_tasks", (0.5, 0.7))], "ties").axes[0].get_title(loc="left")
        'ties'
    """
    from matplotlib.figure import Figure

    shown = [group for group in groups if group.metric == "accuracy" and group.points]
    if not shown:
        raise FusionBenchError("no accuracy to draw", hint="the protocol reports no group of accuracies")
    figure = Figure(figsize=(8.0, 1.3 + 0.36 * len(shown)), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for y, group in enumerate(shown):
        logged = group.metrics()
        mean, spread = 100 * logged[f"accuracy/{group.name}_mean"], logged.get(f"accuracy/{group.name}_std")
        axes.scatter([100 * point for point in group.points], [y] * len(group.points), s=22, color="#8A8A8A", zorder=2)
        if spread is not None:
            axes.plot([mean - 100 * spread, mean + 100 * spread], [y, y], color=_COLOUR, linewidth=3, alpha=0.5)
        axes.scatter([mean], [y], s=60, color=_COLOUR, zorder=3)
        axes.annotate(f"{mean:.1f}", (mean, y), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(shown)), [group.name.replace("_", " ") for group in shown])
    axes.set_ylim(len(shown) - 0.4, -0.8)
    numbers = [100 * point for group in shown for point in group.points]
    margin = max(2.0, 0.1 * (max(numbers) - min(numbers)))
    axes.set_xlim(max(0.0, min(numbers) - margin), min(102.0, max(numbers) + margin))
    axes.set_xlabel(f"accuracy on the test split, %; grey: {', '.join(dict.fromkeys(group.of for group in shown))}")
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    return figure
