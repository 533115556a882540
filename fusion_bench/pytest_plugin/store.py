"""The tracking store: made ready by the controller before the first case starts, then opened by each process."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin.node_ids import case_id_of
from fusion_bench.pytest_plugin.parametrize import is_ours

if TYPE_CHECKING:
    from fusion_bench.cases import Session
    from fusion_bench.tracking import Store, StoreLocation

PLUGIN_NAME = "fusion_bench.store"
_SESSION = "fusion_bench_session"


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Store(config)


class _Store:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.ready: Store | None = None
        given: dict[str, Any] = getattr(config, "workerinput", {})
        # one name for all runs of this session, whatever worker they run on
        self.session_name: str = given.get(_SESSION) or uuid.uuid4().hex[:12]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_SESSION] = self.session_name

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        idle = session.config.getoption("collectonly", False) or command_line.read(self._config).dry_run
        if not idle and any(map(is_ours, session.items)):
            self._prepare(runs_here=True)
        return (yield)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        # a worker has collected and none has been given work yet: the last moment before several open the store
        if any(case_id_of(nodeid) for nodeid in ids):
            self._prepare(runs_here=False)

    def _prepare(self, *, runs_here: bool) -> None:
        if self.ready is not None or hasattr(self._config, "workerinput"):
            return
        try:
            self.ready = prepare(self._config, runs_here=runs_here)
        except FusionBenchError as error:
            raise pytest.UsageError(f"fusion_bench: {error}") from error


def location(config: pytest.Config) -> StoreLocation:
    """The store that the options name, else the environment, else ``mlruns/`` of the project the tests belong to."""
    from fusion_bench.tracking import locate_store

    uri = command_line.read(config).tracking_uri
    # a URI is typed where the user stands; without one, the tests' project decides and not the working directory
    return locate_store(uri, start=config.invocation_params.dir if uri else config.rootpath)


def prepare(config: pytest.Config, *, runs_here: bool) -> Store:
    """Create the store or probe it, and close the runs that dead processes left open.

    Args:
        runs_here: cases will run in this process, so it may as well load its libraries meanwhile.

    Raises:
        FusionBenchError: the store cannot be used.
    """
    from fusion_bench.tracking import Store
    from fusion_bench.tracking.sweep import close_stale_runs

    if runs_here:
        from fusion_bench.cases.startup import start_up

        start_up(location(config))
    store = Store(location(config))
    close_stale_runs(store)
    return store


def open_session(config: pytest.Config) -> Session:
    """What the cases of this process share; a context manager."""
    from fusion_bench.cases import Session

    options = command_line.read(config)
    role: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    return Session(
        config_dir=options.config_dir,
        plugins=options.plugins,
        tracking_uri=location(config).uri,
        save_models=options.save_models,
        resume=options.resume,
        precision=options.precision,  # type: ignore[arg-type]
        name=role.session_name,
        source=shlex.join(["pytest", *config.invocation_params.args]),
    )


def keep_page(config: pytest.Config) -> str | None:
    """Keep the page of the session's runs in the store; the line that says where, or why not."""
    role: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    store: Store | None = role.ready
    options = command_line.read(config)
    if store is None or not options.page:
        return None
    from fusion_bench.cases.page import adapters, log_page

    source = shlex.join(["pytest", *config.invocation_params.args])
    load = adapters(options.config_dir, options.plugins)
    try:
        place = log_page(store, role.session_name, source, load=load)
        return None if place is None else f"page:        {place}"
    except FusionBenchError as error:
        return f"no page of this session: {error.message}"


def closing_lines(config: pytest.Config, experiments: Iterable[str]) -> list[str]:
    """Where the runs are and how to open them; nothing where none was tracked."""
    from fusion_bench import tracking

    role: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    store: Store | None = role.ready
    return [] if store is None else tracking.closing_lines(store, experiments)
