"""The options of the command line.

Some of them have names that a project's own ``conftest.py`` may well use too (``--device``, ``--seed``). This plugin is
loaded in every pytest run of the environment and must break none, so those are added after the conftests were read and
only where the name is still free; under ``--fb-<name>`` they always exist.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError

SAVE_MODELS = ("none", "best", "all")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Options:
    """What the command line asked for; empty tuples and None mean "not asked".

    Example:
        >>> Options(algorithms=("ties", "dare_*")).chosen
        True
        >>> Options().chosen
        False
    """

    algorithms: tuple[str, ...] = ()
    modelpools: tuple[str, ...] = ()
    taskpools: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    precision: str = "auto"
    seed: int | None = None
    resume: bool = False
    save_models: str | None = None
    tracking_uri: str | None = None
    config_dir: Path | None = None
    plugins: tuple[str, ...] = ()
    baseline: bool = False
    update_baseline: bool = False
    baselines: Path | None = None
    markdown: Path | None = None
    page: bool = True
    dry_run: bool = False

    @property
    def chosen(self) -> bool:
        """Whether cases were named on the command line (then a wrong name ends the session before it collects)."""
        return bool(self.algorithms or self.modelpools or self.taskpools or self.overrides)


_ALWAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("modelpool", {"action": "append", "metavar": "NAMES", "help": "model pools, as with --algorithm"}),
    ("taskpool", {"action": "append", "metavar": "NAMES", "help": "task pools, as with --algorithm"}),
    (
        "save-models",
        {"choices": SAVE_MODELS, "help": "which fused models to keep: none, the best of each pool, or all"},
    ),
    ("tracking-uri", {"metavar": "URI", "help": "MLflow store (default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"}),
    ("no-page", {"action": "store_true", "help": "do not keep an HTML page of the session's runs in the store"}),
    ("update-baseline", {"action": "store_true", "help": "make what the cases measure now their baselines"}),
    ("baselines", {"metavar": "DIR", "help": "where baselines lie (default: bench/baselines)"}),
)
_WHERE_FREE: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "algorithm",
        {
            "action": "append",
            "metavar": "NAMES",
            "help": "algorithms by name or glob, comma separated (-k ties: the family; --algorithm ties: only it)",
        },
    ),
    (
        "override",
        {
            "action": "append",
            "metavar": "KEY=VALUES",
            "help": "set a field, e.g. algorithm.scaling=0.2,0.4: one case per value; repeated: one per combination",
        },
    ),
    (
        "device",
        {
            "default": "cpu",
            "help": "where models are evaluated (default: cpu); one that a GPU has no memory for runs layer by layer",
        },
    ),
    (
        "precision",
        {
            "choices": PRECISIONS,
            "default": "auto",
            "help": "of evaluation: bfloat16 is autocast's; auto is that on CUDA, float32 elsewhere",
        },
    ),
    ("seed", {"type": int, "help": "seed of every case whose method is random (default: its YAML's, 0)"}),
    ("resume", {"action": "store_true", "help": "reuse finished runs with the same fingerprint"}),
    ("dry-run", {"action": "store_true", "help": "print what the cases would read, hold and write; fuse nothing"}),
    ("baseline", {"action": "store_true", "help": "fail each case that is not as good as its stored baseline"}),
    ("markdown", {"metavar": "FILE", "help": "write leaderboards and verdicts there, as a job's summary"}),
    ("plugin", {"action": "append", "metavar": "MODULES", "help": "modules that hold your own algorithms or pools"}),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options whose names are ours alone."""
    group = parser.getgroup("fusion_bench", "fusion_bench: deep-model fusion, compared")
    for name, settings in _ALWAYS:
        group.addoption(f"--{name}", dest=_dest(name), **settings)
    group.addoption(
        "--fb-config-path",
        dest=_dest("config_path"),
        metavar="DIR",
        help="folder with your own algorithm/, modelpool/, taskpool/ YAML, searched before the shipped ones",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None, object, object]:
    """Register the remaining options once every conftest has had its say."""
    result = yield
    taken = {name for group in _groups(parser) for option in group.options for name in option.names()}
    group = parser.getgroup("fusion_bench")
    for name, settings in _WHERE_FREE:
        spellings = [s for s in (f"--{name}", f"--fb-{name}") if s not in taken]
        if spellings:
            group.addoption(*spellings, dest=_dest(name), **settings)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """A dry run is not distributed: the plan is made where the cases are, and xdist's controller has none."""
    if config.getoption(_dest("dry-run"), False) and hasattr(config.option, "numprocesses"):
        config.option.numprocesses, config.option.tx, config.option.dist = 0, [], "no"
    return (yield)


def read(config: pytest.Config) -> Options:
    """The options of this session.

    Raises:
        FusionBenchError: an empty name, or an override without ``=``.
    """

    def many(name: str) -> tuple[str, ...]:
        return split_names(config.getoption(_dest(name), None) or (), option=f"--{name}")

    def path(name: str) -> Path | None:
        given = config.getoption(_dest(name), None)
        return Path(config.invocation_params.dir, given) if given else None

    overrides = tuple(config.getoption(_dest("override"), None) or ())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise FusionBenchError(
                f"--override {override!r} names no field and value",
                hint="write it as algorithm.scaling=0.2,0.4",
            )
    return Options(
        algorithms=many("algorithm"),
        modelpools=many("modelpool"),
        taskpools=many("taskpool"),
        overrides=overrides,
        device=config.getoption(_dest("device"), None) or "cpu",
        precision=config.getoption(_dest("precision"), None) or "auto",
        seed=config.getoption(_dest("seed"), None),
        resume=bool(config.getoption(_dest("resume"), False)),
        save_models=config.getoption(_dest("save-models"), None),
        tracking_uri=config.getoption(_dest("tracking-uri"), None),
        config_dir=path("config_path"),
        plugins=many("plugin"),
        baseline=bool(config.getoption(_dest("baseline"), False)),
        update_baseline=bool(config.getoption(_dest("update-baseline"), False)),
        baselines=path("baselines"),
        markdown=path("markdown"),
        page=not config.getoption(_dest("no-page"), False),
        dry_run=bool(config.getoption(_dest("dry-run"), False)),
    )


def split_names(given: tuple[str, ...] | list[str], *, option: str) -> tuple[str, ...]:
    """Comma separated lists, repeated or not, as one tuple in the order given, without repeats.

    Example:
        >>> split_names(["ties, slerp", "ties"], option="--algorithm")
        ('ties', 'slerp')
    """
    names = [name.strip() for text in given for name in text.split(",")]
    if not all(names):
        raise FusionBenchError(f"{option} {','.join(given)!r} holds an empty name", hint="separate names by one comma")
    return tuple(dict.fromkeys(names))


def _dest(name: str) -> str:
    return "fusion_bench_" + name.replace("-", "_")


def _groups(parser: pytest.Parser) -> list[Any]:
    # pytest has no public way to ask which option names are taken; this list is in 8.2 as in 9.2
    groups = list(parser._groups)
    return groups if parser._anonymous in groups else [parser._anonymous, *groups]
