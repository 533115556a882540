"""Progress of one case on the terminal: a bar with the time left; nothing where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fusion_bench.progress import Progress, silent


@contextmanager
def display(case_id: str, index: int, count: int) -> Iterator[Progress]:
    """A ``progress`` callable for the case; drawn on standard error, so that standard output stays JSON."""
    if not sys.stderr.isatty():
        print(f"{case_id} ({index + 1}/{count})", file=sys.stderr)
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    head = f"{case_id} ({index + 1}/{count})" if count > 1 else case_id
    columns = (
        TextColumn(head),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        task = bars.add_task("", total=None)
        current = ""

        def report(stage: str, done: int, total: int) -> None:
            nonlocal current
            name = stage.split(" ")[0]
            if name != current:
                current = name
                bars.reset(task, total=total, completed=done)
            bars.update(task, description=stage, completed=done, total=total)

        yield report
