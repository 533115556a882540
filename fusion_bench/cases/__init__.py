"""Cases: what is run, and the one function that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_bench.cases.case import Case
from fusion_bench.cases.result import CaseResult
from fusion_bench.cases.selection import matrix

if TYPE_CHECKING:
    from fusion_bench.cases.run import run_case
    from fusion_bench.cases.session import Session

__all__ = ["Case", "CaseResult", "Session", "matrix", "run_case"]

_LATE = {"run_case": "fusion_bench.cases.run", "Session": "fusion_bench.cases.session"}  # torch is behind these


def __getattr__(name: str) -> Any:
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
