"""Progress bars with the time left, for a terminal; a line now and then for a log."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from fusion_bench.progress import Progress


def bars(console: Console | None = None) -> Progress:
    """A ``progress`` callable that draws one bar per stage."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        return _lines(console)
    display = RichProgress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    stages: dict[str, int] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            if not stages:
                display.start()
            stages[stage] = int(display.add_task(stage, total=total))
        display.update(display.task_ids[display.task_ids.index(stages[stage])], completed=done, total=total)  # type: ignore[arg-type]
        if all(task.finished for task in display.tasks):
            display.refresh()
            display.stop()
            stages.clear()

    return report


def _lines(console: Console, every: float = 30.0) -> Progress:
    last: dict[str, float] = {}
    first: dict[str, tuple[float, int]] = {}

    def report(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        began, start = first.setdefault(stage, (now, done))
        if done < total and now - last.get(stage, 0.0) < every:
            return
        last[stage] = now
        left = (now - began) / max(1, done - start) * (total - done)
        console.print(f"{stage}: {done}/{total}, about {left / 60:.0f} min left", highlight=False)

    return report
