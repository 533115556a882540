"""Tasks of texts for language models: answered in words, or through a head of the task."""

from fusion_bench.taskpools.text.classification import ClassificationTask, RegressionTask
from fusion_bench.taskpools.text.config import TextTaskConfig
from fusion_bench.taskpools.text.generation import By, GenerationTask
from fusion_bench.taskpools.text.numbers import NumberTask
from fusion_bench.taskpools.text.pool import TextTaskPool

__all__ = [
    "By",
    "ClassificationTask",
    "GenerationTask",
    "NumberTask",
    "RegressionTask",
    "TextTaskConfig",
    "TextTaskPool",
]
