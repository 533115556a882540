"""Reference row: every expert on its own task."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import Algorithm, Kind
from fusion_bench.models.ensemble import TaskRouted
from fusion_bench.progress import Progress, silent

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True, kw_only=True)
class Experts(Algorithm):
    """Each fine-tuned model θᵢ on the task it was tuned for: the upper bound, and what scores are normalised by.

    Needs to be told which task an example is from, which no fused model is.

    Example:
        >>> Experts().kind
        'reference'
    """

    kind: ClassVar[Kind] = "reference"
    routed: ClassVar[bool] = True

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        return TaskRouted({name: pool.lent(name) for name in pool.expert_names})
