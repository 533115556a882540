"""What an analysis is given, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusion_bench.analysis.table import Table
from fusion_bench.modelpools.base import BASE
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.steps import Steps

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool
    from fusion_bench.taskpools.base import TaskAdapter
    from fusion_bench.taskpools.evaluate import LogitCache
    from fusion_bench.weights.state_dict import StateDict


@dataclass(frozen=True)
class Subject:
    """What is analysed: a pool, its tasks, the logits that are known already, and how batches are run."""

    pool: ModelPool
    adapters: Mapping[str, TaskAdapter]
    cache: LogitCache | None = None
    device: str = "cpu"
    progress: Progress = silent
    steps: Steps = field(default_factory=Steps)

    @property
    def evaluating(self) -> dict[str, Any]:
        """How models are evaluated for it, as keywords."""
        return {"cache": self.cache, "device": self.device, "progress": self.progress, "steps": self.steps}

    @property
    def how(self) -> dict[str, str]:
        """What of that may show in the numbers, and does not go without saying."""
        return self.steps.stated(self.device)

    @property
    def base(self) -> StateDict:
        """θ_0."""
        return self.pool.state_dict(BASE)

    @property
    def experts(self) -> dict[str, StateDict]:
        """θ_i by name, in the order of the names."""
        return {name: self.pool.state_dict(name) for name in sorted(self.pool.expert_names)}


@dataclass(frozen=True)
class Findings:
    """Tables by name, metrics as ``<metric>/<name>``, and what of the data was looked at."""

    tables: dict[str, Table]
    metrics: dict[str, float]
    options: dict[str, Any] = field(default_factory=dict)
    data_access: str = "weights"
