"""Running an analysis case: open the pools, analyse, draw, leave one tracked run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fusion_bench import registry
from fusion_bench.analysis import data_views, weight_views
from fusion_bench.analysis.case import ANALYSES, AnalysisCase
from fusion_bench.analysis.subject import Findings, Subject
from fusion_bench.analysis.table import Table
from fusion_bench.cases.fingerprint import code_hash, fingerprint, plugin_hash
from fusion_bench.cases.prepare import check_device
from fusion_bench.cases.session import Bound, Session
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent

if TYPE_CHECKING:
    from fusion_bench.tracking.run import TrackedRun
    from fusion_bench.tracking.store import Store

KIND = "analysis"
SCHEMA = 1
DOCUMENT = "analysis.json"

_VIEWS: dict[str, Callable[[Subject], Findings]] = {
    "cosines": weight_views.show_cosines,
    "norms": weight_views.show_norms,
    "signs": weight_views.show_signs,
    "spectra": weight_views.show_spectra,
    "subspaces": weight_views.show_subspaces,
    "kinship": weight_views.show_kinship,
    "paths": data_views.show_paths,
    "cross_task": data_views.show_cross_task,
}

_NOTE = """What the models of `{pools}` have in common before anything fuses them: one run per analysis.

Each holds `analysis.json` (tables with their definitions) and a figure per table. Nothing here is a method's result.
"""


@dataclass(frozen=True)
class Analysis:
    """What an analysis of a pool found.

    Attributes:
        case: ``analysis``, ``modelpool``, ``taskpool``, ``overrides``, ``device``, ``id``.
        tables: by name, each with its definition.
        metrics: ``<metric>/<name>``, finite.
        options: what the analysis was set to.
        data_access: "weights", or which labels it saw.
        resumed: whether an earlier run's was taken (``Session(resume=True)``).
    """

    case: dict[str, Any]
    tables: dict[str, Table]
    metrics: dict[str, float]
    options: dict[str, Any]
    data_access: str
    fingerprint: str
    tags: dict[str, str] = field(default_factory=dict)
    run_id: str | None = None
    resumed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As ``analysis.json`` has it: ``schema``, ``kind``, and the attributes."""
        tables = {name: table.to_dict() for name, table in self.tables.items()}
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "title": ANALYSES[self.case["analysis"]],
            **asdict(self),
            "tables": tables,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Analysis:
        """From ``analysis.json``.

        Raises:
            FusionBenchError: another schema, or a document that is none.
        """
        if content.get("schema") != SCHEMA or content.get("kind") != KIND:
            raise FusionBenchError(
                f"not a document of this version: kind {content.get('kind')!r}, schema {content.get('schema')!r}",
                hint=f"{KIND!r} documents of schema {SCHEMA} are read; run the analysis again",
            )
        fields = {name: value for name, value in content.items() if name not in ("schema", "kind", "title")}
        try:
            tables = {name: Table.from_dict(table) for name, table in fields["tables"].items()}
            return cls(**{**fields, "tables": tables})
        except (KeyError, TypeError, AttributeError) as error:
            raise FusionBenchError(f"not an analysis: {error}") from error


def run_analysis(case: AnalysisCase, session: Session | None = None, progress: Progress = silent) -> Analysis:
    """Analyse a pool and leave one tracked run, in an experiment beside the pool's leaderboard.

    Args:
        case: what to run; `analysis_cases` makes them.
        session: what is shared between cases; None opens one for this case alone.
        progress: told of every stage.

    Raises:
        FusionBenchError: whatever a user can mend; the run is FAILED.
    """
    if session is None:
        with Session() as own:
            return run_analysis(case, own, progress)
    store = session.store
    tags = _about(case, session)
    if store is None:
        bound, config = session.bound(case.pools), session.config(case.pools)
        return _analyse(case, bound, _fingerprint(case, bound, config, session), tags, progress)

    from fusion_bench.tracking.run import TrackedRun
    from fusion_bench.tracking.sweep import process_tags

    experiment = store.experiment(case.experiment)
    store.client.set_experiment_tag(experiment, "mlflow.note.content", _NOTE.format(pools=case.pools.experiment))
    try:
        check_device(case.pools.device)
        bound, config = session.bound(case.pools), session.config(case.pools)
        mark = _fingerprint(case, bound, config, session)
    except Exception:
        with TrackedRun(store, case.experiment, case.label, {**tags, **process_tags()}):
            raise  # a case that is refused leaves a FAILED run like any other that goes wrong
    if session.resume:
        found = _resumed(store, case, mark)
        if found is not None:
            return found
    tags["fingerprint"] = mark
    with TrackedRun(store, case.experiment, case.label, {**tags, **process_tags()}) as run:
        return _record(run, _analyse(case, bound, mark, tags, progress, run_id=run.id), config)


def _about(case: AnalysisCase, session: Session) -> dict[str, str]:
    return {
        "case": case.id,
        "kind": KIND,
        "device": case.pools.device,
        "session": session.name,
        "mlflow.source.name": session.source,
        "mlflow.source.type": "LOCAL",
        **session.provenance,
    }


def _fingerprint(case: AnalysisCase, bound: Bound, config: Mapping[str, Any], session: Session) -> str:
    pools = {group: config[group] for group in ("modelpool", "taskpool")}
    theirs = plugin_hash([type(bound.modelpool), type(bound.taskpool)])
    content = (bound.modelpool.content_hash(), bound.taskpool.content_hash())
    mark = {"analysis": case.analysis, "device": case.pools.device, **pools, **bound.steps.stated(case.pools.device)}
    ours = code_hash(Path(__file__).parent)  # whether or not the session's hash covers this folder
    return fingerprint(mark, *content, session.code, ours, theirs, torch.__version__)


def _analyse(
    case: AnalysisCase,
    bound: Bound,
    mark: str,
    tags: dict[str, str],
    progress: Progress,
    run_id: str | None = None,
) -> Analysis:
    began = time.perf_counter()
    progress("analyse", 0, 1)
    subject = Subject(bound.modelpool, bound.adapters, bound.cache, case.pools.device, progress, bound.steps)
    found = _VIEWS[case.analysis](subject)
    names = {"analysis": case.analysis, "modelpool": case.modelpool, "taskpool": case.taskpool}
    given = {"overrides": list(case.pools.overrides), "device": case.pools.device, "id": case.id}
    return Analysis(
        case={**names, **given},
        tables=found.tables,
        metrics={**found.metrics, "cost/analysis_seconds": time.perf_counter() - began},
        options=found.options,
        data_access=found.data_access,
        fingerprint=mark,
        tags=tags,
        run_id=run_id,
    )


def _record(run: TrackedRun, found: Analysis, config: Mapping[str, Any]) -> Analysis:
    from fusion_bench.report.analysis_figures import analysis_figures
    from fusion_bench.tracking.run import flat

    document = found.to_dict()
    with tempfile.TemporaryDirectory(prefix="fusion_bench-") as name:
        folder = Path(name)
        (folder / DOCUMENT).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for table, figure in analysis_figures(document).items():
            figure.savefig(folder / f"{table}.png")
        run.artifacts(folder)
    pools = {group: config[group] for group in ("modelpool", "taskpool")}
    fields = {g: {k: v for k, v in c.items() if k not in registry.DESCRIPTION - {"type"}} for g, c in pools.items()}
    names = {key: found.case[key] for key in ("analysis", "modelpool", "taskpool")}
    params = {**flat(fields), **flat({"analysis": found.options}), **names}
    run.log(found.metrics, params, {"mlflow.note.content": note(found), "data_access": found.data_access})
    return found


def note(found: Analysis) -> str:
    """The run's description in the UI: what each table shows, and the metrics.

    Example:
        >>> case = {"analysis": "norms", "modelpool": "p", "taskpool": "t"}
        >>> print(note(Analysis(case, {}, {"relative_norm/a": 0.5, "cost/analysis_seconds": 1.0}, {}, "weights", "")))
        **lengths of task vectors**
        <BLANKLINE>
        | | |
        | --- | ---: |
        | relative_norm/a | 0.5 |
    """
    lines = [f"**{ANALYSES[found.case['analysis']]}**", ""]
    lines += [f"- {table.title}: {table.note}" for table in found.tables.values()]
    lines += [""] if found.tables else []
    numbers = {name: value for name, value in found.metrics.items() if not name.startswith("cost/")}
    return "\n".join([*lines, "| | |", "| --- | ---: |", *(f"| {k} | {v:.4g} |" for k, v in numbers.items())])


def _resumed(store: Store, case: AnalysisCase, mark: str) -> Analysis | None:
    run = store.finished(case.experiment, mark)
    if run is None:
        return None
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(run.info.run_id, DOCUMENT, folder)
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return Analysis.from_dict({**content, "resumed": True})
        except (MlflowException, OSError, ValueError, FusionBenchError):  # its files were removed or are another
            return None  # version's: run it again
