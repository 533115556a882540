"""Fusion algorithms: one file each, found by file name; see ``base`` for what one is."""

from fusion_bench.algorithms.base import Algorithm, EnsembleAlgorithm, MergingAlgorithm, TaskVectorAlgorithm

__all__ = ["Algorithm", "EnsembleAlgorithm", "MergingAlgorithm", "TaskVectorAlgorithm"]
