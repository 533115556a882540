"""Deep-model fusion, compared: ensembling, merging and mixing as benchmarks.

Names are loaded when first used, so that ``import fusion_bench`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from fusion_bench.cases import Case, run_case
    from fusion_bench.merging import merge
    from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool
    from fusion_bench.tracking.frames import results

__version__ = "0.1.0"
__all__ = [
    "Case",
    "FusionBenchError",
    "load_algorithm",
    "load_modelpool",
    "load_taskpool",
    "merge",
    "results",
    "run_case",
]

_HOMES = {
    "Case": "fusion_bench.cases",
    "run_case": "fusion_bench.cases",
    "merge": "fusion_bench.merging",
    "results": "fusion_bench.tracking.frames",
    "load_algorithm": "fusion_bench.registry",
    "load_modelpool": "fusion_bench.registry",
    "load_taskpool": "fusion_bench.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusion_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
