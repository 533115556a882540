"""Data: verified files, Parquet and hub splits, images decoded once and memory-mapped."""

from fusion_bench.datasets.cache import ImageCache, cache_root
from fusion_bench.datasets.manifest import Manifest, locate
from fusion_bench.datasets.splits import Split, open_split

__all__ = ["ImageCache", "Manifest", "Split", "cache_root", "locate", "open_split"]
