"""Reference row: the base model, before any fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import Algorithm, Kind
from fusion_bench.progress import Progress, silent

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True, kw_only=True)
class Pretrained(Algorithm):
    """The pool's base as it is, θ₀: the lower bound that a fusion should beat.

    Example:
        >>> Pretrained().kind
        'reference'
    """

    kind: ClassVar[Kind] = "reference"

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        return pool.model("base")
