"""Tasks of EleutherAI's lm-evaluation-harness (the library lm-eval), as tasks of this package."""

from fusion_bench.taskpools.harness.catalogue import Catalogue
from fusion_bench.taskpools.harness.library import require_library, unavailable, version
from fusion_bench.taskpools.harness.opened import OpenTask, open_task
from fusion_bench.taskpools.harness.options import HarnessTaskConfig
from fusion_bench.taskpools.harness.task import HarnessTask

__all__ = [
    "Catalogue",
    "HarnessTask",
    "HarnessTaskConfig",
    "OpenTask",
    "open_task",
    "require_library",
    "unavailable",
    "version",
]
