"""``fusion_bench baseline``: what the gate holds results against, shown, compared, rewritten."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    import numpy as np

    from fusion_bench.cases import Case
    from fusion_bench.regression import Baseline, Settings
    from fusion_bench.tracking.records import Record

OK, REGRESSED, UNTESTABLE = 0, 1, 125  # 125 tells `git bisect run` to leave this commit out

_DESCRIPTION = """\
Baselines are what `pytest bench --baseline` holds each case against: a text file a case, below bench/baselines/.

  fusion_bench baseline show                          all of them, a line each
  fusion_bench baseline show ties                     one, with where it comes from
  fusion_bench baseline diff                          the newest run of each case against its baseline
  fusion_bench baseline update ties slerp             make their newest runs the baselines
  fusion_bench baseline accept ties --because "..."   the same for one, with the reason kept in the file
  fusion_bench baseline check ties                    run it now, untracked; exit status 1 when it is not as good,
                                                      125 when it cannot run (what `git bisect run` wants)
"""


def parser() -> argparse.ArgumentParser:
    """The parser of ``fusion_bench baseline``."""
    made = argparse.ArgumentParser(
        prog="fusion_bench baseline", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("action", choices=["show", "diff", "update", "accept", "check"])
    made.add_argument("cases", nargs="*", metavar="CASE", help="a case id, or its beginning where that says which")
    made.add_argument("--because", metavar="REASON", help="why the change is right (accept)")
    made.add_argument("--baselines", type=Path, metavar="DIR", help="default: bench/baselines of this project")
    made.add_argument("--tracking-uri", metavar="URI", help="the store that runs are taken from (diff, update, accept)")
    made.add_argument("--ignore-costs", action="store_true", help="check accuracy only, as a bisection does")
    made.add_argument("--config-path", type=Path, metavar="DIR", help="your folder of YAML (check)")
    made.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="your own classes (check)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run ``fusion_bench baseline``; returns the exit status."""
    options = parser().parse_intermixed_args(list(arguments))
    folder = options.baselines or _default_folder()
    if options.action == "show":
        return _show(folder, options.cases)
    if options.action == "check":
        return _check(folder, options)
    if options.action == "accept" and not (options.because or "").strip():
        raise FusionBenchError("accept needs a reason", hint='--because "what changed, and why that is right"')
    if options.action == "accept" and not options.cases:
        raise FusionBenchError("accept needs a case", hint="fusion_bench baseline diff lists those that changed")
    records = _records(options)
    if options.action == "diff":
        return _diff(folder, records)
    return _rewrite(folder, records, options.because, named=bool(options.cases))


def _default_folder() -> Path:
    from fusion_bench.tracking.location import project_root

    return project_root(Path.cwd()) / "bench" / "baselines"


def _show(folder: Path, wanted: Sequence[str]) -> int:
    from fusion_bench.regression.baseline import find, read

    if len(wanted) == 1:
        print("\n".join(_described(read(find(folder, wanted[0])))))
        return OK
    paths = [find(folder, name) for name in wanted] or sorted(folder.glob("*/*/*.json"))
    if not paths:
        raise FusionBenchError(f"no baselines below {folder}", hint="pytest bench --update-baseline makes them")
    found, broken = [], 0
    for path in paths:
        try:
            found.append(read(path))
        except FusionBenchError as error:  # noqa: PERF203
            broken += 1
            print(f"fusion_bench: {error.message}", file=sys.stderr)
    width = max((len(baseline.id) for baseline in found), default=0)
    for baseline in found:
        accepted = f"  accepted {len(baseline.accepted)} x" if baseline.accepted else ""
        mean = f"{100 * baseline.accuracy['mean']:5.1f} %"
        print(f"{baseline.id:<{width}}  {mean}  {baseline.date}  {baseline.commit[:9] or '-':<9}{accepted}")
    return OK if not broken else REGRESSED


def _described(baseline: Baseline) -> list[str]:
    width = max(len(task) for task in (*baseline.tasks, "mean"))
    base, experts = (baseline.references.get(name, {}) for name in ("pretrained", "experts"))
    lines = [baseline.id, f"  {'':<{width}}  accuracy   base  expert  examples"]
    for task in baseline.tasks:
        others = "".join(f"  {100 * of[task]:5.1f}" if task in of else "      -" for of in (base, experts))
        accuracy, n = baseline.accuracy[task], baseline.outcomes[task]["n"]
        lines.append(f"  {task:<{width}}     {100 * accuracy:5.1f}{others}  {n:8d}")
    lines.append(f"  {'mean':<{width}}     {100 * baseline.accuracy['mean']:5.1f}")
    lines.append(f"  made {baseline.date} at {baseline.commit or 'no commit'} on {baseline.machine}")
    lines.append(f"  with {', '.join(f'{name} {version}' for name, version in baseline.versions.items())}")
    lines += [f"  {name.replace('_', ' ')} {value:g}" for name, value in baseline.costs.items()]
    for entry in baseline.accepted:
        lines.append(f"  accepted {entry['date']} ({entry['was']:.4f} before): {entry['because']}")
    return lines


def _records(options: argparse.Namespace) -> list[Record]:
    """The newest run of each case that is meant; of every case where none is named."""
    from fusion_bench.tracking.finding import find
    from fusion_bench.tracking.location import locate_store
    from fusion_bench.tracking.records import latest, read_records

    location = locate_store(options.tracking_uri)
    records, _ = read_records(location)
    if options.cases:
        return [record for name in options.cases for record in find(name, location, records)]
    return latest(records)


def _now(record: Record) -> Baseline:
    from fusion_bench.regression import from_result

    return from_result({**record.result, "tags": dict(record.tags)}, date=record.started.date().isoformat())


def _sources(record: Record) -> dict[str, dict[str, np.ndarray]]:
    """Which examples share a source; where that is lost they are counted singly, and that is said."""
    from fusion_bench.regression.baseline import MAIN, sources_of

    try:
        return {MAIN: record.clusters(), **sources_of(record.result)}
    except FusionBenchError as error:
        print(f"fusion_bench: examples are counted singly: {error.message}", file=sys.stderr)
        return {}


def _diff(folder: Path, records: Sequence[Record]) -> int:
    from fusion_bench.regression import judge, message, path_of, read_settings
    from fusion_bench.regression.baseline import read

    settings = read_settings(folder)
    with_one = [record for record in records if path_of(folder, record.result["case"]).is_file()]
    if not with_one:
        raise FusionBenchError(f"none of these runs has a baseline below {folder}", hint="fusion_bench baseline show")
    status, as_before = OK, 0
    for record in with_one:
        try:
            verdict = judge(
                read(path_of(folder, record.result["case"])),
                _now(record),
                settings,
                cases=len(with_one),
                sources=_sources(record),
            )
        except FusionBenchError as error:  # one that is damaged leaves the others to be compared
            print(f"fusion_bench: {error.message}", file=sys.stderr)
            status = REGRESSED
            continue
        if verdict.fails:
            status = REGRESSED
            print(message(verdict))
        elif verdict.status == "better":
            print(f"{verdict.case} is better:", *(f"  {f.task}: {f.text}" for f in verdict.findings), sep="\n")
        else:
            as_before += 1
        for finding in verdict.findings:
            if finding.kind == "unjudged" and not verdict.fails:
                print(f"{verdict.case}: {finding.text}")
    print(f"{as_before} of {len(with_one)} as before")
    return status


def _rewrite(folder: Path, records: Sequence[Record], because: str | None, *, named: bool) -> int:
    from fusion_bench.regression import path_of, read_settings
    from fusion_bench.regression.baseline import read
    from fusion_bench.regression.rewrite import rewrite

    for record in records:
        now, path = _now(record), path_of(folder, record.result["case"])
        if not named and not path.is_file():
            continue  # an update of everything renews what is there, and adds nothing that nobody asked for
        try:
            old = read(path) if path.is_file() else None
        except FusionBenchError as error:
            old = None
            print(f"fusion_bench: {error.message}; it is made anew", file=sys.stderr)
        costlier = because is not None and old is not None and _costs_more(old, now, read_settings(folder))
        status = rewrite(folder, now, because=because, costlier=costlier)
        if status == "as before":
            print(f"{now.id}: as before, left as it is")
            continue
        before = f"{100 * old.accuracy['mean']:.2f} → " if old is not None else ""
        run = f"run {record.run_id[:8]} of {record.started:%Y-%m-%d %H:%M}, commit {record.commit[:9] or '-'}"
        print(f"{now.id}: {before}{100 * now.accuracy['mean']:.2f} % mean ({run}), {path}")
    return OK


def _costs_more(old: Baseline, now: Baseline, settings: Settings) -> bool:
    from fusion_bench.regression.findings import costlier

    return bool(costlier(old, now, settings))


def _check(folder: Path, options: argparse.Namespace) -> int:
    """Run cases as this checkout has them and hold them against baselines; for `git bisect run`."""
    wanted = options.cases
    if not wanted:
        raise FusionBenchError("check needs a case", hint="fusion_bench baseline show lists them")
    try:
        from fusion_bench.regression.baseline import find, read

        baselines = [read(find(folder, name)) for name in wanted]
        verdicts = _run(baselines, folder, options)
    except Exception as error:  # a commit whose code cannot run says nothing about the case
        traceback.print_exception(error) if not isinstance(error, FusionBenchError) else print(error, file=sys.stderr)
        return UNTESTABLE
    return REGRESSED if any(verdicts) else OK


def _run(baselines: Sequence[Baseline], folder: Path, options: argparse.Namespace) -> list[bool]:
    from fusion_bench.cases import Session, run_case
    from fusion_bench.cli.display import display
    from fusion_bench.regression import from_result, judge, message, read_settings
    from fusion_bench.regression.baseline import sources_of

    settings, failing = read_settings(folder), []
    own = {"config_dir": options.config_path, "plugins": options.plugin}
    with Session(tracking_uri="", save_models="none", **own) as session:
        for index, baseline in enumerate(baselines):
            case = _case(baseline.case)
            with display(case.id, index, len(baselines)) as progress:
                result = run_case(case, session, progress).to_dict()
            now = from_result(result, date=baseline.date)
            verdict = judge(baseline, now, settings, cases=len(baselines), sources=sources_of(result))
            bad = verdict.fails and not (options.ignore_costs and verdict.status == "costlier")
            print(message(verdict) if bad else f"{case.id}: {verdict.status}")
            failing.append(bad)
    return failing


def _case(described: dict[str, Any]) -> Case:
    from fusion_bench.cases import Case

    names = {name: described[name] for name in ("algorithm", "modelpool", "taskpool")}
    kind = {"seed": described.get("seed"), "device": described.get("device", "cpu")}
    return Case(**names, overrides=tuple(described.get("overrides", ())), **kind)
