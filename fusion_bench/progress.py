"""How long work reports back: one callable, handed down, so that the core never knows a terminal."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``; cheap to call often."""


Counted = Callable[[int], None]
"""Called as ``counted(done)`` by work of one stage whose total its caller knows; cheap to call often."""


def silent(stage: str, done: int, total: int) -> None:
    """Report to nobody."""


def uncounted(done: int) -> None:
    """Count for nobody."""
