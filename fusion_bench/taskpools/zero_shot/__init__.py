"""Tasks of zero-shot image classification: as they are, and with corrupted test pictures."""

from fusion_bench.taskpools.zero_shot.corrupted import CorruptedTask, Corruptions
from fusion_bench.taskpools.zero_shot.task import TaskConfig, ZeroShotTask

__all__ = ["CorruptedTask", "Corruptions", "TaskConfig", "ZeroShotTask"]
