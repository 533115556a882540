"""``fusion_bench report``: what the store knows, as one HTML file, or as tables for other programs."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from fusion_bench.progress import Progress
    from fusion_bench.tracking.location import StoreLocation
    from fusion_bench.tracking.records import Record

_FORMS = ("html", "md", "csv", "latex", "json")
_QUIET_SECONDS = 2.0

_DESCRIPTION = """\
Everything that the runs of a store tell, in one HTML file that needs no server and no network: leaderboards with
intervals, any two runs compared example by example, accuracy against cost, history. docs/report.md says what is in it.

  fusion_bench report                                       report.html, from the store of this project
  fusion_bench report --open                                and show it in the browser
  fusion_bench report --out nightly.html --since 2026-01-01
  fusion_bench report --experiment clip_mini/mini8 --session 8d1f0c2ab34e
  fusion_bench report --where "params.algorithm = 'ties'"   a filter of MLflow's
  fusion_bench report --format md                           the leaderboards alone, on standard output
  fusion_bench report --format latex --out table.tex        a tabular for a paper
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    began = time.perf_counter()
    options = _parser().parse_args(list(arguments))
    from fusion_bench.tracking.location import locate_store

    location = locate_store(options.tracking_uri)
    where = combined(options.where, session=options.session, since=options.since)
    progress = _Progress(began)
    records, notes, documents = _read(location, options.experiment, where)
    if not records:
        _tell_notes(notes)
        raise FusionBenchError(
            f"no finished run of fusion_bench in {shown(location.uri)}" + (f" where {where}" if where else ""),
            hint="run some, pytest bench -k ties; or ask for less: --since, --session, --where, --experiment",
        )
    if options.format == "html":
        return _html(options, records, notes, documents, shown(location.uri), progress, began)
    return _tables(options, records, notes, progress)


def _html(
    options: argparse.Namespace,
    records: Sequence[Record],
    notes: Sequence[str],
    documents: Sequence[Mapping[str, Any]],
    source: str,
    progress: _Progress,
    began: float,
) -> int:
    from fusion_bench.cases.page import adapters
    from fusion_bench.disk import byte_text
    from fusion_bench.report.page import write_report
    from fusion_bench.report.page.panels.analysis import analysis_panels

    written = write_report(
        records,
        notes,
        options.out or Path("report.html"),
        load=None if options.no_pictures else adapters(options.config_path, options.plugin),
        extra=analysis_panels(documents),
        source=source,
        progress=progress,
    )
    progress.clear()
    _tell_notes(written.notes)
    boards = f"{written.boards} board{'s' if written.boards != 1 else ''}"
    seconds = time.perf_counter() - began
    print(f"{written.path}: {len(records)} runs on {boards}, {byte_text(written.size)}, {seconds:.1f} s")
    if options.open:
        import webbrowser

        webbrowser.open(written.path.absolute().as_uri())
    return 0


def _tables(options: argparse.Namespace, records: Sequence[Record], notes: Sequence[str], progress: _Progress) -> int:
    from fusion_bench.report.export import write_boards
    from fusion_bench.report.page.tables import leaderboard_entries

    entries, more = leaderboard_entries(records, progress=progress)
    progress.clear()
    text = write_boards(entries, options.format)
    _tell_notes([*notes, *more])
    if options.out is None:
        print(text, end="")
        return 0
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FusionBenchError(f"cannot write {options.out}: {error.strerror}", hint="--out FILE") from error
    print(options.out)
    return 0


def _read(
    location: StoreLocation, experiments: Sequence[str] | None, where: str
) -> tuple[list[Record], list[str], list[dict[str, Any]]]:
    """Records, notes, and the documents of analyses, which are of the pools and of no selection of runs."""
    from fusion_bench.tracking.analyses import read_analyses
    from fusion_bench.tracking.records import read_records

    records, notes = read_records(location, experiments=experiments, where=where)
    if where:
        return records, notes, []
    documents, analyses = read_analyses(location, experiments=experiments)
    ids = {str(document.get("run_id")) for document in documents} | set(analyses)
    cases = [note for note in notes if note.removeprefix("run ").split(" ", 1)[0] not in ids]
    return records, cases + list(analyses.values()), documents


def combined(where: str, *, session: str | None = None, since: str | None = None) -> str:
    """One filter of MLflow's from what was asked for; empty where nothing was.

    Args:
        since: a day or a moment in ISO 8601; UTC where it names no zone.

    Example:
        >>> combined("params.algorithm = 'ties'", session="8d1f", since="2026-01-01")
        "params.algorithm = 'ties' and tags.session LIKE '8d1f%' and attributes.start_time >= 1767225600000"
    """
    parts = [where] if where else []
    if session is not None:
        if not re.fullmatch(r"[\w.-]+", session):
            raise FusionBenchError(f"{session!r} is no session", hint="fusion_bench list shows them")
        parts.append(f"tags.session LIKE '{session}%'")
    if since is not None:
        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            raise FusionBenchError(
                f"--since {since}: no date", hint="a day, 2026-01-31, or a moment, 2026-01-31T18:00"
            ) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        parts.append(f"attributes.start_time >= {int(moment.timestamp() * 1000)}")
    return " and ".join(parts)


def shown(uri: str) -> str:
    """A store's address without a password.

    Example:
        >>> shown("https://me:secret@host/mlflow"), shown("sqlite:///mlruns/mlflow.db")
        ('https://host/mlflow', 'mlruns/mlflow.db')
    """
    return re.sub(r"//[^/@]*@", "//", uri).removeprefix("sqlite:///")


def _tell_notes(notes: Sequence[str]) -> None:
    for note in dict.fromkeys(notes):
        print(f"note: {note}", file=sys.stderr)


class _Progress:
    """Says on standard error what is being done, once the work has taken longer than a person waits gladly."""

    def __init__(self, began: float) -> None:
        self._next = began + _QUIET_SECONDS
        self._drawn = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if now < self._next:
            return
        terminal = sys.stderr.isatty()
        self._next = now + (0.2 if terminal else _QUIET_SECONDS)
        line = f"{stage} {done}/{total}"
        print(f"\r\x1b[K{line}" if terminal else f"… {line}", file=sys.stderr, end="" if terminal else "\n", flush=True)
        self._drawn = terminal

    def clear(self) -> None:
        """Take the line off a terminal."""
        if self._drawn:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)


if TYPE_CHECKING:
    _checked: Progress = _Progress(0.0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fusion_bench report", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where it goes (html: report.html, else stdout)")
    parser.add_argument("--format", choices=_FORMS, default="html", help="html, or the leaderboards in another form")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    parser.add_argument(
        "--experiment", action="append", metavar="NAME", help="<modelpool>/<taskpool>, more than once for several"
    )
    parser.add_argument("--session", metavar="S", help="runs of one pytest session or command, or its beginning")
    parser.add_argument("--where", default="", metavar="FILTER", help="a filter of MLflow's, as in its search field")
    parser.add_argument("--since", metavar="DATE", help="runs that began then or later: 2026-01-31, UTC")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    parser.add_argument("--no-pictures", action="store_true", help="examples without their images: seconds less")
    parser.add_argument("--config-path", type=Path, metavar="DIR", help="your folder with modelpool/, taskpool/")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="module with your own classes")
    return parser
