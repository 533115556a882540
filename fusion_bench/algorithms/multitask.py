"""Reference row: one model trained on the data of all tasks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import Algorithm, Kind
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True, kw_only=True)
class Multitask(Algorithm):
    """The pool's multi-task model: what training on everybody's data would have given, without fusing.

    Raises:
        FusionBenchError: the pool has no such model.

    Example:
        >>> Multitask().kind
        'reference'
    """

    kind: ClassVar[Kind] = "reference"

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        if not pool.has_multitask:
            raise FusionBenchError(
                f"model pool {pool.name!r} has no multi-task model", hint="leave the case out, or add the checkpoint"
            )
        return pool.model("multitask")
