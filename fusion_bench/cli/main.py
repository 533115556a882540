"""The entry point: parse, then hand over to `cases.run_case`, the same function the pytest cases call."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.cli.parser import COMMANDS, build_parser
from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    import argparse

    from fusion_bench.cases import Case, CaseResult, Session

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

_LEFT = {"merge": "nothing is left behind", "pools": "what was fetched is kept, and the rest goes on from there"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    0; 1 when a case raised, or one of several failed; 2 for what the user can mend; 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in COMMANDS:
            with _sigterm_as_interrupt():
                return int(importlib.import_module(COMMANDS[given[0]]).main(given[1:]))
        if given[:1] == ["--complete"]:
            from fusion_bench.cli.completion import complete

            print("\n".join(complete(given[1] if len(given) > 1 else "")))
            return OK
        return _run(given)
    except FusionBenchError as error:
        print(f"fusion_bench: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        left = _LEFT.get(given[0] if given else "", "if a run was under way it is marked KILLED")
        print(f"fusion_bench: interrupted; {left}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # who reads our output, head for one, has had enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - else Python complains of the rest once more at exit
        return OK


def _run(given: list[str]) -> int:
    options = _parse(given)
    if options.completion:
        from fusion_bench.cli.completion import script

        print(script(options.completion), end="")
        return OK
    if options.cfg:
        _print_config(options)
        return OK
    from fusion_bench.cli.output import check_writable, report_path
    from fusion_bench.cli.selection import select

    cases = select(options)
    check_writable(options.report or report_path("report"))
    with _sigterm_as_interrupt():
        return _run_cases(cases, options, given)


def _parse(given: list[str]) -> argparse.Namespace:
    from fusion_bench.cli.selection import check_words

    # the help lists the user's own names too, so the folder is needed before the parser is complete
    folder = None
    for index, word in enumerate(given):
        if word.startswith("--config-path"):
            value = word.partition("=")[2] or (given[index + 1] if index + 1 < len(given) else "")
            folder = Path(value) if value and Path(value).is_dir() else None
    options = build_parser(folder).parse_intermixed_args(given)
    check_words(options.overrides)
    return options


def _print_config(options: argparse.Namespace) -> None:
    import yaml

    from fusion_bench.cases.compose import compose

    words = [*options.overrides]
    words += [f"++{name}={value}" for name in ("seed", "device") if (value := getattr(options, name)) is not None]
    composed = compose(words, config_dir=options.config_path, config_name=options.config_name)
    print(yaml.safe_dump(composed, sort_keys=False, allow_unicode=True), end="")


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM closes the run under way as Ctrl-C does, rather than leave it RUNNING."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


def _run_cases(cases: list[Case], options: argparse.Namespace, given: list[str]) -> int:
    from fusion_bench.cases import Session
    from fusion_bench.cli.output import closing_lines, save, show_leaderboards, tell

    with Session(
        config_dir=options.config_path,
        config_name=options.config_name,
        plugins=options.plugin,
        tracking_uri=options.tracking_uri,
        save_models=options.save_models,
        resume=options.resume,
        precision=options.precision,
        source=f"fusion_bench {shlex.join(given)}",
    ) as session:
        if session.store is not None:
            from fusion_bench.tracking.sweep import close_stale_runs

            close_stale_runs(session.store)
        if options.save_models in ("best", "all"):
            for line in session.announcements(cases):
                tell(line)
        results, status = _each(cases, options, session)
        if options.multirun:
            content: object = [result.to_dict() for result in results]
            show_leaderboards(results)
            print(save(content, options.report) if options.report else _text(content))
        else:
            for result in results:
                print(_text(result.to_dict()))
        for line in closing_lines(results, session):
            tell(line)
    return status


def _each(cases: list[Case], options: argparse.Namespace, session: Session) -> tuple[list[CaseResult], int]:
    """Run one case after the other; of several, those that fail are told and the others go on."""
    from fusion_bench.cases import run_case
    from fusion_bench.cli.display import display
    from fusion_bench.cli.output import report_path, save, tell

    results: list[CaseResult] = []
    status = OK
    for index, case in enumerate(cases):
        try:
            with display(case.id, index, len(cases)) as progress:
                result = run_case(case, session, progress)
        except FusionBenchError as error:  # noqa: PERF203
            if len(cases) == 1:
                raise
            status = FAILED
            tell(f"fusion_bench: {case.id}: {error}")
        except Exception:  # somebody's algorithm: its author needs the traceback
            status = FAILED
            tell(f"fusion_bench: {case.id} raised; its run is marked FAILED\n{traceback.format_exc()}")
        else:
            results.append(result)
            save(result.to_dict(), (None if options.multirun else options.report) or report_path(case.id))
            mean = f"{case.id}: {result.metrics['accuracy/mean']:.1%} mean accuracy"
            tell(f"{mean} (of the finished run {result.run_id})" if result.resumed else mean)
    return results, status


def _text(content: object) -> str:
    import json

    return json.dumps(content, indent=1)
