"""Tasks that ask for a map of every picture: classes, depths or normals of its pixels."""

from fusion_bench.taskpools.dense.config import DenseTaskConfig
from fusion_bench.taskpools.dense.examples import DenseExamples
from fusion_bench.taskpools.dense.task import DenseTask, enlarged

__all__ = ["DenseExamples", "DenseTask", "DenseTaskConfig", "enlarged"]
