"""Architectures, and fused models that are more than one set of weights; each is imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_bench.models.ensemble import Ensemble, TaskRouted

__all__ = ["Ensemble", "TaskRouted"]

_HOMES = {"Ensemble": "fusion_bench.models.ensemble", "TaskRouted": "fusion_bench.models.ensemble"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
