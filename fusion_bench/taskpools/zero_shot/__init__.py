"""Tasks whose classes are named in words: of pictures, as they are and corrupted, and of texts."""

from fusion_bench.taskpools.zero_shot.corrupted import CorruptedTask, Corruptions
from fusion_bench.taskpools.zero_shot.images import ImageTask
from fusion_bench.taskpools.zero_shot.task import TaskConfig, ZeroShotTask
from fusion_bench.taskpools.zero_shot.texts import TextTask

__all__ = ["CorruptedTask", "Corruptions", "ImageTask", "TaskConfig", "TextTask", "ZeroShotTask"]
