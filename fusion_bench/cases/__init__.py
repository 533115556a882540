"""Cases: what is run, and the one function that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.cases.case import Case
from fusion_bench.cases.result import CaseResult
from fusion_bench.cases.selection import matrix
from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.cases.run import run_case
    from fusion_bench.cases.session import Session

__all__ = ["Case", "CaseResult", "Session", "matrix", "run_case"]

# torch is behind these
__getattr__ = late(__name__, {"run_case": "run", "Session": "session"})
