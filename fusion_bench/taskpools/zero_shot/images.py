"""Pictures against the frozen text features of the class names."""

from __future__ import annotations

from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.taskpools.labelled import PictureTask
from fusion_bench.taskpools.zero_shot.task import ZeroShotTask


class ImageTask(PictureTask, ZeroShotTask):
    """A zero-shot task of pictures; see ``labelled.PictureTask`` for what it takes."""

    _pool: ImagePool
