"""The entry point: parse, then hand over to `cases.run_case`, the same function the pytest cases call."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.cli.parser import build_parser, ui_parser
from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    import argparse

    from fusion_bench.cases import Case, CaseResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 when a case of several failed, 2 for an error, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["zoo"]:
            from fusion_bench.zoo.cli import main as zoo

            return zoo(given[1:])
        if given[:1] == ["ui"]:
            from fusion_bench.tracking import locate_store
            from fusion_bench.tracking.ui import serve

            options = ui_parser().parse_args(given[1:])
            return serve(locate_store(options.tracking_uri), host=options.host, port=options.port)
        if given[:1] == ["--complete"]:
            from fusion_bench.cli.completion import complete

            print("\n".join(complete(given[1] if len(given) > 1 else "")))
            return 0
        return _run(given)
    except FusionBenchError as error:
        print(f"fusion_bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fusion_bench: interrupted; the run was marked KILLED", file=sys.stderr)
        return 130


def _run(given: list[str]) -> int:
    options = _parse(given)
    if options.completion:
        from fusion_bench.cli.completion import script

        print(script(options.completion), end="")
        return 0
    if options.cfg:
        _print_config(options)
        return 0
    cases = select(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a run is closed, not left RUNNING
    return _run_cases(cases, options, given)


def _parse(given: list[str]) -> argparse.Namespace:
    # the help lists the user's own names too, so the folder is needed before the parser is complete
    folder = None
    for index, word in enumerate(given):
        if word.startswith("--config-path"):
            value = word.partition("=")[2] or (given[index + 1] if index + 1 < len(given) else "")
            folder = Path(value) if value and Path(value).is_dir() else None
    options = build_parser(folder).parse_intermixed_args(given)
    for word in options.overrides:
        if "=" not in word:
            raise FusionBenchError(
                f"{word!r} is neither a command nor OPTION=VALUE",
                hint="commands are ui and zoo; see fusion_bench --help",
            )
    return options


def _print_config(options: argparse.Namespace) -> None:
    import yaml

    from fusion_bench.cases.compose import compose

    words = [*options.overrides]
    words += [f"{name}={value}" for name in ("seed", "device") if (value := getattr(options, name)) is not None]
    composed = compose(words, config_dir=options.config_path, config_name=options.config_name)
    print(yaml.safe_dump(composed, sort_keys=False, allow_unicode=True), end="")


def select(options: argparse.Namespace) -> list[Case]:
    """The cases that the command line names: one, or with ``-m`` one per combination."""
    from fusion_bench import registry
    from fusion_bench.cases import matrix
    from fusion_bench.cases.compose import compose
    from fusion_bench.cases.selection import choices

    chosen = {word.partition("=")[0]: word.partition("=")[2] for word in options.overrides}
    for key in ("seed", "device"):
        if getattr(options, key) is None and key in chosen:
            setattr(options, key, int(chosen[key]) if key == "seed" else chosen[key])
    groups: dict[str, list[str]] = {}
    if any(group not in chosen for group in registry.GROUPS):
        defaults = _defaults(options)
    for group in registry.GROUPS:
        text = chosen.get(group) or defaults[group]
        groups[group] = text.split(",") if options.multirun else [text]
    rest = [word for word in options.overrides if word.partition("=")[0] not in (*registry.GROUPS, "seed", "device")]
    if not options.multirun:
        swept = next((word for word in rest if len(choices(word)) > 1), None)
        if swept or any("," in name for names in groups.values() for name in names):
            raise FusionBenchError(f"several values in {swept or 'a group'}", hint="sweep them with -m")
        # composed once before anything is loaded: an unknown option is answered with the nearest one
        words = [*(f"{group}={names[0]}" for group, names in groups.items()), *rest]
        compose(words, config_dir=options.config_path, config_name=options.config_name)
    return matrix(
        algorithms=groups["algorithm"],
        modelpools=groups["modelpool"],
        taskpools=groups["taskpool"],
        overrides=rest,
        seed=options.seed or 0,
        device=options.device or "cpu",
        config_dir=options.config_path,
    )


def _defaults(options: argparse.Namespace) -> dict[str, str]:
    """The names in the defaults list of the root configuration."""
    import yaml

    from fusion_bench.cases.compose import CONFIG_DIR

    folders = [folder for folder in (options.config_path, CONFIG_DIR) if folder is not None]
    files = [folder / f"{options.config_name}.yaml" for folder in folders]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise FusionBenchError(f"no root configuration {files[0]}", hint="leave out --config-name")
    listed = [entry for entry in yaml.safe_load(path.read_text())["defaults"] if isinstance(entry, dict)]
    found = {str(key): str(value) for entry in listed for key, value in entry.items()}
    shipped = yaml.safe_load((CONFIG_DIR / "fusion_bench.yaml").read_text())["defaults"]
    return {str(k): str(v) for entry in shipped if isinstance(entry, dict) for k, v in entry.items()} | found


def _run_cases(cases: list[Case], options: argparse.Namespace, given: list[str]) -> int:
    from fusion_bench.cases import Session, run_case
    from fusion_bench.cli.display import display

    failed = 0
    results: list[CaseResult] = []
    with Session(
        config_dir=options.config_path,
        plugins=options.plugin,
        tracking_uri=options.tracking_uri,
        save_models=options.save_models,
        resume=options.resume,
        source=f"fusion_bench {' '.join(given)}",
    ) as session:
        if session.store is not None:
            from fusion_bench.tracking.sweep import close_stale_runs

            close_stale_runs(session.store)
        for index, case in enumerate(cases):
            with display(case.id, index, len(cases)) as progress:
                try:
                    results.append(run_case(case, session, progress))
                except FusionBenchError as error:
                    if len(cases) == 1:
                        raise
                    failed += 1
                    print(f"fusion_bench: {case.id}: {error}", file=sys.stderr)
    for result in results:
        print(save_report(result, options.report if len(cases) == 1 else None))
    return 1 if failed else 0


def save_report(result: CaseResult, path: Path | None) -> str:
    """Write the JSON report and return it."""
    import os
    import re

    text = json.dumps(result.to_dict(), indent=1)
    target = path or Path("outputs") / f"{re.sub(r'[^A-Za-z0-9_.=,-]+', '_', result.case['id'])}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_text(text + "\n")
        os.replace(temporary, target)  # noqa: PTH105
    except OSError as error:
        raise FusionBenchError(f"cannot write the report {target}: {error.strerror}", hint="--report FILE") from error
    print(f"report: {target}", file=sys.stderr)
    return text
