"""The leaderboards of a store for other formats, with the same intervals and letters as on the page."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_bench.progress import Progress, silent
from fusion_bench.report.export import Entry
from fusion_bench.report.page.groups import grouped, split_notes
from fusion_bench.report.page.outcomes import detailed, read_outcomes
from fusion_bench.report.page.rows import board_of
from fusion_bench.report.page.runs import Run
from fusion_bench.report.page.standing import standings


def leaderboard_entries(runs: Sequence[Run], *, progress: Progress = silent) -> tuple[list[Entry], list[str]]:
    """One entry for each set of runs that can be compared, and notes on runs that belong to none.

    Args:
        runs: any finished runs, in any order; of each method the newest counts.
    """
    groups, notes = grouped(runs)
    found = []
    for group in groups:
        outcomes, said = read_outcomes(group, detailed(group), progress=progress)
        notes += said
        board = board_of(group, outcomes, standings(group, outcomes))
        found.append(Entry(board, group.digest))
    return found, [*split_notes(groups).values(), *notes]
