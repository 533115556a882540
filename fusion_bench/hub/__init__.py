"""Models and data sets by id: where they lie, how they are fetched, what is wrong with them. No torch, no pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.hub.places import local, missing
from fusion_bench.hub.pool_sources import Pool, pinned_config, read_pool, sources_of
from fusion_bench.hub.source import Source
from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.hub.checking import Checked, check
    from fusion_bench.hub.fetching import fetch

__all__ = [
    "Checked",
    "Pool",
    "Source",
    "check",
    "fetch",
    "local",
    "missing",
    "pinned_config",
    "read_pool",
    "sources_of",
]

__getattr__ = late(__name__, {"Checked": "checking", "check": "checking", "fetch": "fetching"})
