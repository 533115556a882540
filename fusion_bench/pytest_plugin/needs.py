"""A case whose need, or whose pool, is absent here is skipped, and says why and what would help."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin.parametrize import case_of

if TYPE_CHECKING:
    from fusion_bench.cases import Case


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Needs()


class _Needs:
    def __init__(self) -> None:
        self._missing: dict[str, str | None] = {}
        self._absent: dict[tuple[str, str, tuple[str, ...]], str | None] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        case = case_of(item)
        if case is None:
            return
        pools = (case.modelpool, case.taskpool, case.overrides)
        if pools not in self._absent:
            self._absent[pools] = absent(case, command_line.read(item.config).config_dir)
        if (without := self._absent[pools]) is not None:
            pytest.skip(without)
        for need in case.needs:
            if need not in self._missing:
                self._missing[need] = missing(need)
            reason = self._missing[need]
            if reason is not None:
                pytest.skip(reason)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        report = yield
        if report.skipped and case_of(item) is not None and isinstance(report.longrepr, tuple):
            # the reason stands at the test that was skipped, not in this file
            path, line, _ = item.reportinfo()
            report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])
        return report


def absent(case: Case, config_dir: Path | None) -> str | None:
    """Which Python package, or models and data sets of the hub, a case would need that are not here; or None.

    What else is wrong with a pool's YAML is told by the case itself.
    """
    from fusion_bench.errors import FusionBenchError
    from fusion_bench.hub import local, missing, read_pool

    pools, others, made, lacks = [], [], [], []
    for group, name in (("modelpool", case.modelpool), ("taskpool", case.taskpool)):
        try:
            written = read_pool(group, name, config_dir=config_dir)
            known = [word for word in case.overrides if _field(word, group) in written.config]
            pool = read_pool(group, name, config_dir=config_dir, overrides=known)
        except FusionBenchError:
            continue
        for source in pool.sources.values():
            if source.place == "python" and local(source) is None:
                return f"install first: {pool.install or source.label} ({missing(source)})"
            if source in written.made:  # a path that the command line gives is made by nobody
                made.append(str(pool.make))
                lacks.append(missing(source))
            if source.place == "hub" and local(source) is None:
                lacks.append(f"{source.label}: {missing(source)}")
                if source in written.sources.values():
                    pools.append(name)
                else:
                    others.append(f"hf download {source.id}")
    if not lacks:
        return None
    folder = "" if config_dir is None else f" --config-path {_near(config_dir)}"
    fetched = [f"fusion_bench pools fetch {' '.join(dict.fromkeys(pools))}{folder}"] if pools else []
    more = f"; {len(lacks) - 1} more" if len(lacks) > 1 else ""
    what = "fetch" if fetched or others else "make"
    return f"{what} first: {' && '.join([*fetched, *others, *dict.fromkeys(made)])} ({lacks[0]}{more})"


def _field(override: str, group: str) -> str:
    """The field of a group that an override is about; "" where it is about another group."""
    of, _, field = override.lstrip("+~").partition("=")[0].partition(".")
    return field.partition(".")[0] if of == group else ""


def _near(folder: Path) -> Path:
    """The path from here, where that is a part of it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def missing(need: str) -> str | None:
    """Why a need is not met on this machine; None where it is met, or is nothing a machine could lack."""
    check = _CHECKS.get(need)
    return check() if check is not None else None


def _no_gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return "needs a GPU, and torch sees none here (leave these out with -m 'not gpu')"


def _no_corruptions() -> str | None:
    from fusion_bench.datasets.corruption import unavailable

    return unavailable()


def _no_harness() -> str | None:
    from fusion_bench.taskpools.harness import unavailable

    return unavailable()


_CHECKS: dict[str, Callable[[], str | None]] = {
    "gpu": _no_gpu,
    "lm": _no_harness,
    "robustness": _no_corruptions,
}
