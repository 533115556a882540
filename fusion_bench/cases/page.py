"""The page of a session: what its cases measured, as an artifact of a run of the session's own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from fusion_bench.report.page.pictures import Load
    from fusion_bench.tracking.store import Store

EXPERIMENT = "sessions"


def adapters(config_dir: Path | None = None, plugins: Sequence[str] = ()) -> Load:
    """Tasks of pools that are on this machine, for the pictures of a page, which fetches nothing."""

    def load(modelpool: str, taskpool: str) -> Mapping[str, Any]:
        from fusion_bench import registry

        for group, name in (("modelpool", modelpool), ("taskpool", taskpool)):
            if "network" in registry.read_config(group, name, config_dir=config_dir).get("needs", ()):
                raise FusionBenchError(f"{name} is on the network, from which a report fetches nothing")
        pool = registry.build("modelpool", modelpool, config_dir=config_dir, plugins=plugins)
        tasks = registry.build("taskpool", taskpool, config_dir=config_dir, plugins=plugins)
        bound: Mapping[str, Any] = tasks.bind(pool)
        return bound

    return load


def log_page(store: Store, session: str, source: str, *, load: Load | None = None) -> str | None:
    """Make the page of a session's runs, and keep it as ``report.html`` of a run of kind ``session``.

    Returns:
        where; None for a session that has no finished run of its own (its cases failed, or were reused).

    Args:
        source: the command that the session is.
        load: see `adapters`; without it the page has no pictures.

    Raises:
        FusionBenchError: the page cannot be written.
    """
    from fusion_bench.report.page import write_report
    from fusion_bench.tracking.records import read_records
    from fusion_bench.tracking.run import TrackedRun

    records, notes = read_records(store.location, where=f"tags.session = '{session}'")
    if not records:
        return None
    tags = {"kind": "session", "session": session, "mlflow.source.name": source, "mlflow.source.type": "LOCAL"}
    with (
        tempfile.TemporaryDirectory(prefix="fusion_bench-") as name,
        TrackedRun(store, EXPERIMENT, source, tags) as run,
    ):
        write_report(records, notes, Path(name) / "report.html", load=load, title=f"fusion_bench: {source}")
        run.artifacts(Path(name))
        best = [record.result["metrics"]["accuracy/mean"] for record in records if not record.is_reference]
        run.log({"cases": float(len(records)), **({"accuracy/best_mean": max(best)} if best else {})}, {}, {})
    if store.location.is_remote:
        root = store.location.uri.rstrip("/")
        return f"{root}/#/experiments/{store.experiment(EXPERIMENT)}/runs/{run.id}/artifacts/report.html"
    uri: str = store.client.get_run(run.id).info.artifact_uri
    return f"{uri}/report.html".removeprefix("file://")
