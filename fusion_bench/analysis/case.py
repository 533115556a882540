"""Which analyses there are on which pools, by names only: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.cases.selection import matrix
from fusion_bench.errors import unknown_name

ANALYSES: dict[str, str] = {
    "cosines": "angles between task vectors",
    "norms": "lengths of task vectors",
    "signs": "entries that experts pull in opposite directions",
    "spectra": "singular values of task matrices, effective and stable rank",
    "subspaces": "overlap and alignment of the directions experts use",
    "kinship": "distances between the models' weights",
    "paths": "loss and accuracy on the line between two models",
    "cross_task": "every model on every task",
}
"""What each analysis shows, by the name a user types."""

_REFERENCE = "pretrained"  # an algorithm that every pool can run: its cases are the pairs of pools there are


@dataclass(frozen=True)
class AnalysisCase:
    """One analysis on one model pool and task pool.

    Attributes:
        pools: a case of the reference algorithm on the same pools, with their overrides and the device.

    Example:
        >>> case = AnalysisCase("cosines", Case("pretrained", "clip_mini", "mini8"))
        >>> case.id, case.experiment
        ('cosines-clip_mini-mini8', 'clip_mini/mini8 analysis')
    """

    analysis: str
    pools: Case

    def __post_init__(self) -> None:
        if self.analysis not in ANALYSES:
            raise unknown_name("analysis", self.analysis, ANALYSES)

    @property
    def modelpool(self) -> str:
        """Its name."""
        return self.pools.modelpool

    @property
    def taskpool(self) -> str:
        """Its name."""
        return self.pools.taskpool

    @property
    def needs(self) -> tuple[str, ...]:
        """What the pools need of the machine."""
        return self.pools.needs

    @property
    def label(self) -> str:
        """The analysis with what was changed about its pools: the name of the run."""
        return self.analysis + self.pools.label.removeprefix(self.pools.algorithm)

    @property
    def id(self) -> str:
        """As pytest shows it."""
        return f"{self.label}-{self.modelpool}-{self.taskpool}"

    @property
    def experiment(self) -> str:
        """The MLflow experiment of its run: beside the leaderboard of these pools, not in it."""
        return f"{self.pools.experiment} analysis"


def analysis_cases(
    *,
    analyses: Sequence[str] = (),
    modelpools: Sequence[str] = (),
    taskpools: Sequence[str] = (),
    overrides: Sequence[str] = (),
    device: str = "cpu",
    config_dir: Path | None = None,
) -> list[AnalysisCase]:
    """Every analysis on every pair of pools selected, from plain YAML; none that the task pool goes ``without``.

    Args:
        analyses: names; all when empty.
        modelpools, taskpools, overrides: as in `cases.matrix`; overrides of pools only.

    Raises:
        FusionBenchError: an unknown name, or what `cases.matrix` refuses.

    Example:
        >>> [case.id for case in analysis_cases(analyses=["norms", "cosines"], taskpools=["mini8"])]
        ['norms-clip_mini-mini8', 'cosines-clip_mini-mini8']
    """
    pairs = matrix(
        algorithms=[_REFERENCE],
        modelpools=modelpools,
        taskpools=taskpools,
        overrides=overrides,
        device=device,
        config_dir=config_dir,
    )
    if analyses:  # what is named is tried, and says itself why it cannot be
        return [AnalysisCase(name, pools) for pools in pairs for name in analyses]
    closed = {
        pool: registry.read_config("taskpool", pool, config_dir=config_dir).get("without", ())
        for pool in {pools.taskpool for pools in pairs}
    }
    return [AnalysisCase(name, pools) for pools in pairs for name in ANALYSES if name not in closed[pools.taskpool]]
