"""Model pools: a base and the experts fine-tuned from it."""

from fusion_bench.modelpools.base import ModelPool

__all__ = ["ModelPool"]
