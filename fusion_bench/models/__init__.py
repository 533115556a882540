"""Architectures, and fused models that are more than one set of weights; each is imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.models.ensemble import Ensemble, TaskRouted

__all__ = ["Ensemble", "TaskRouted"]

__getattr__ = late(__name__, {"Ensemble": "ensemble", "TaskRouted": "ensemble"})
