"""How far the harness is with a task, by the answers that it hands over for keeping."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from fusion_bench.progress import Counted
from fusion_bench.taskpools.harness.opened import OpenTask


class Answers:
    """Stands where the harness would keep each answer in a file (``LM.set_cache_hook``), and counts them.

    An example asks for several answers, and answers come by length, not by example: of n examples as many count as
    done as the answers' share says, rounded down.

    Args:
        opened: the task.
        counted: told when another example is done.
        aloud: a context in which ``counted`` may write; see `library.quiet`.
    """

    def __init__(self, opened: OpenTask, counted: Counted, aloud: Callable[[], AbstractContextManager[None]]) -> None:
        self._opened, self._counted, self._aloud = opened, counted, aloud
        self._given = self._wanted = self._done = 0

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        """An answer; the name and arguments are the harness'."""
        if not self._given:  # by now all requests are made
            self._wanted = sum(one.repeats for one in self._opened.task.instances)
        self._given += 1
        done = self._opened.size * self._given // self._wanted
        if done > self._done:
            self._done = done
            with self._aloud():
                self._counted(done)
