"""Task pools: what a model is evaluated on."""

from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.evaluate import Predictions, evaluate

__all__ = ["Predictions", "TaskAdapter", "TaskPool", "evaluate"]
