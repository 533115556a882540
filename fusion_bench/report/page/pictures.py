"""Small pictures of examples, from a task pool's adapters where the pool is at hand and holds the same data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from PIL.Image import Image

SPLIT = "test"
LARGEST_SIDE = 64  # pixels; larger pictures are made smaller


class Adapter(Protocol):
    """What is asked of a task (`taskpools.base.TaskAdapter` has it)."""

    @property
    def classes(self) -> Sequence[str]: ...

    def picture(self, split: str, index: int) -> Image: ...

    def data_hash(self, split: str) -> str: ...


Load = Callable[[str, str], Mapping[str, Any]]
"""``load(modelpool, taskpool)`` gives adapters by task; a `FusionBenchError` where the pool is not at hand."""


class Pictures:
    """Pictures and class names of pools, each pool loaded when first asked for.

    Args:
        load: see `Load`; None where no pictures are wanted.
    """

    def __init__(self, load: Load | None = None) -> None:
        self._load = load
        self._pools: dict[tuple[str, str], Mapping[str, Adapter] | FusionBenchError] = {}

    def adapter(self, modelpool: str, taskpool: str, task: str, digest: str) -> Adapter:
        """The task, checked to be the data that runs were evaluated on.

        Args:
            digest: of the examples, as the run has it: the whole hash or its beginning.

        Raises:
            FusionBenchError: the pool is not at hand, has no such task, or its data have changed since.
        """
        if self._load is None:
            raise FusionBenchError("no pictures were asked for")
        pools = (modelpool, taskpool)
        if pools not in self._pools:
            try:
                self._pools[pools] = self._load(*pools)
            except FusionBenchError as error:
                self._pools[pools] = error
        found = self._pools[pools]
        if isinstance(found, FusionBenchError):
            raise found
        if task not in found:
            raise FusionBenchError(f"task pool {taskpool} has no task {task}")
        adapter = found[task]
        here = adapter.data_hash(SPLIT)
        if len(digest) < 8 or not here.startswith(digest):
            raise FusionBenchError(f"the data of {task} here are not those of the runs")
        return adapter


def thumbnail(adapter: Adapter, index: int) -> bytes:
    """Example ``index`` as a PNG file, at most `LARGEST_SIDE` pixels wide and high."""
    from PIL import Image

    picture = adapter.picture(SPLIT, index)
    if picture.mode not in ("1", "L", "RGB"):
        picture = picture.convert("RGB")
    if max(picture.size) > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=max(picture.size) > 32)
    return out.getvalue()
