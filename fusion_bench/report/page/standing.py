"""Who is better than whom for sure: letters and rank ranges of a group's methods."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import Outcomes

ALPHA = 0.05


@dataclass(frozen=True)
class Standing:
    """Of one method: the letters of the groups it belongs to, and the best and worst rank that the tests leave open."""

    letters: str
    ranks: tuple[int, int]


def standings(group: Group, outcomes: Outcomes) -> dict[str, Standing]:
    """By name of the row; bounds are no entrants, and methods with a run whose outcomes are lost are left out."""
    methods = {}
    for name, family in group.methods.items():
        found = [outcomes.correct.get(run.run_id) for run in family.members if not run.is_reference]
        known = [correct for correct in found if correct is not None]
        if known and len(known) == len(family.members):
            methods[name] = known if family.has_seeds else known[0]
    if len(methods) < 2:
        return {}
    from fusion_bench.metrics.ranking import rank_runs

    ranking = rank_runs(methods, alpha=ALPHA, clusters=outcomes.clusters or None)
    return {name: Standing(ranking.letters[name], ranking.rank_ranges[name]) for name in methods}


def groups_in(letters: str) -> set[str]:
    """The single groups in a run's letters, which go on as a2, b2 after Z.

    Example:
        >>> sorted(groups_in("Zaa2"))
        ['Z', 'a', 'a2']
    """
    return set(re.findall(r"[A-Za-z]\d*", letters))
