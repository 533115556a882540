"""Model pools: a base and the experts fine-tuned from it."""

from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.view import restricted, whole

__all__ = ["ModelPool", "restricted", "whole"]
