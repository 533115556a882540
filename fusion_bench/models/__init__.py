"""Architectures, and fused models that are more than one set of weights; each is imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.models.ensemble import Ensemble, TaskRouted
    from fusion_bench.models.lent import Lent, stored_parameters

__all__ = ["Ensemble", "Lent", "TaskRouted", "stored_parameters"]

__getattr__ = late(
    __name__, {"Ensemble": "ensemble", "Lent": "lent", "TaskRouted": "ensemble", "stored_parameters": "lent"}
)
