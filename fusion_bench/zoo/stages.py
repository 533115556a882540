"""Resumable stages: a stage that has written its output is not run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console


class Stages:
    """Runs stages in a work folder; each writes to a temporary path that is renamed when the stage is done."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.console = console
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, output: str, make: Callable[[Path], None]) -> Path:
        """``make(temporary)`` unless ``output`` is there already; returns the path of the output."""
        path = self.folder / output
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"unfinished-{path.name}")
        began = time.monotonic()
        make(temporary)
        temporary.replace(path)
        self.console.print(f"[green]done[/] {output} in {time.monotonic() - began:.0f} s")
        return path
