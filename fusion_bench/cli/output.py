"""What a command leaves behind besides runs: JSON reports, and a few lines for people on standard error."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.files import write_whole

if TYPE_CHECKING:
    from fusion_bench.cases import CaseResult, Session

_LONGEST = 150  # file systems allow 255 bytes


def report_path(case_id: str, folder: Path = Path("outputs")) -> Path:
    """Where the report of a case is saved when no place is named.

    Example:
        >>> report_path("ties[scaling=0.4]-clip_mini-mini8").name
        'ties_scaling=0.4_-clip_mini-mini8.json'
    """
    name = re.sub(r"[^A-Za-z0-9_.=,-]+", "_", case_id)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(case_id.encode()).hexdigest()[:8]}"
    return folder / f"{name}.json"


def save(content: Any, path: Path) -> str:
    """Write JSON, whole or not at all, and return it.

    Raises:
        FusionBenchError: the file cannot be written.
    """
    text = json.dumps(content, indent=1)
    try:
        write_whole(path, text + "\n")
    except OSError as error:
        raise FusionBenchError(f"cannot write the report {path}: {error.strerror}", hint="--report FILE") from error
    tell(f"report: {path}")
    return text


def check_writable(path: Path) -> None:
    """Refuse a place for the report where none could be written, before an hour of work.

    Raises:
        FusionBenchError: the folder cannot be made, or the path is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionBenchError(f"cannot write to {path.parent}: {error.strerror}", hint="--report FILE") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise FusionBenchError(f"cannot write the report {path}", hint="--report FILE")


def tell(line: str) -> None:
    """One line for a person; standard output is for JSON alone."""
    print(line, file=sys.stderr, flush=True)


def closing_lines(results: Sequence[CaseResult], session: Session) -> list[str]:
    """Where the runs are, and links to the experiments."""
    from fusion_bench import tracking

    if session.store is None or not results:
        return []
    return tracking.closing_lines(session.store, [f"{r.case['modelpool']}/{r.case['taskpool']}" for r in results])


def show_leaderboards(results: Sequence[CaseResult]) -> None:
    """Tables of several results, on standard error."""
    from rich.console import Console

    from fusion_bench.report import leaderboards, render
    from fusion_bench.report.published import published_lines

    console = Console(stderr=True, highlight=False)
    found = [result.to_dict() for result in results]
    for board in leaderboards(found):
        console.print(render(board, width=console.width, console=console))
    for line in published_lines(found):
        tell(f"published: {line}")
