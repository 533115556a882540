"""Tasks whose examples have a class each: their data, opened, checked and, of pictures, decoded once."""

from fusion_bench.taskpools.labelled.config import TaskConfig
from fusion_bench.taskpools.labelled.pictures import PictureTask
from fusion_bench.taskpools.labelled.pool import LabelledTaskPool
from fusion_bench.taskpools.labelled.task import LabelledTask

__all__ = ["LabelledTask", "LabelledTaskPool", "PictureTask", "TaskConfig"]
