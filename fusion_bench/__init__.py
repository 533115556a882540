"""Deep-model fusion, compared: ensembling, merging and mixing as benchmarks.

Names are loaded when first used, so that ``import fusion_bench`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError
from fusion_bench.lazy import late

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

__getattr__ = late(
    __name__,
    {
        "Case": "cases",
        "run_case": "cases",
        "merge": "merging",
        "results": "tracking.frames",
        "load_algorithm": "registry",
        "load_modelpool": "registry",
        "load_taskpool": "registry",
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
