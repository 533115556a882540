"""The one call that both doors use: runs in, a file out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.files import write_whole
from fusion_bench.progress import Progress, silent
from fusion_bench.report.page.panels import Panel
from fusion_bench.report.page.payload import build_payload, examples
from fusion_bench.report.page.pictures import Load, Pictures
from fusion_bench.report.page.render import render, with_examples
from fusion_bench.report.page.runs import Run

LARGEST = 7_900_000  # bytes of a page; what is left of it goes to examples
EXAMPLES = 2_000_000  # bytes that examples take at most


@dataclass(frozen=True)
class Written:
    """``path`` of the page, its ``size`` in bytes, how many ``boards`` it has, and ``notes`` on what it lacks."""

    path: Path
    size: int
    boards: int
    notes: tuple[str, ...]


def write_report(
    runs: Sequence[Run],
    notes: Sequence[str],
    path: Path,
    *,
    load: Load | None = None,
    extra: Mapping[str, Sequence[Panel]] | None = None,
    title: str = "fusion_bench report",
    source: str = "",
    progress: Progress = silent,
) -> Written:
    """Write the report of any finished runs as one HTML file that needs no server and no network.

    Args:
        runs: for instance of `tracking.read_records`: all of them, not only the newest, for the history.
        notes: on runs that are not among them, as `read_records` gives them.
        path: the file; its folder is made, an older file replaced once the new one is whole.
        load: adapters of a pool's tasks, for the pictures of examples; without it there are none.
        extra: further panels by experiment.
        source: which store the runs are of, as the page should say.

    Raises:
        FusionBenchError: the file cannot be written.
    """
    payload = build_payload(runs, notes, extra=extra, progress=progress)
    progress("page", 0, 2)
    page = render(payload, title=title, source=source)
    progress("page", 1, 2)
    room = min(EXAMPLES, LARGEST - len(page.encode("utf-8")))
    shown, missing = examples(payload, Pictures(load), room=max(0, room))
    if load is not None and missing:  # the notes stand in the page
        payload = type(payload)(payload.content, payload.groups, payload.outcomes, [*payload.notes, *missing])
        page = render(payload, title=title, source=source)
    content = with_examples(page, shown).encode("utf-8")
    _publish(content, path)
    progress("page", 2, 2)
    return Written(path, len(content), len(payload.groups), tuple(dict.fromkeys(payload.notes)))


def _publish(content: bytes, path: Path) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise FusionBenchError(f"cannot write {path}: {error.strerror}", hint="--out FILE") from error
