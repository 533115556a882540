"""Task pools whose classes are named in words."""

from __future__ import annotations

from fusion_bench.taskpools.labelled import LabelledTaskPool


class ZeroShotTaskPool(LabelledTaskPool):
    """Tasks whose classes are named in words; a subclass says what makes an adapter of one."""
