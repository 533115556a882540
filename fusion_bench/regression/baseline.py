"""What a case measured when somebody last said it was right: a text file that a review can read.

``<folder>/<modelpool>/<taskpool>/<case>.json``: accuracies in plain figures, which examples were right packed into a
line a task, and where all of it comes from (data, configuration, commit, versions, machine).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.files import write_whole
from fusion_bench.metrics.packing import unpack_outcome, unpack_sources

SCHEMA = 2  # 1 had no trials and did not name the user's own code
SCHEMAS = (1, SCHEMA)  # those that this version reads
MAIN = ""  # how a case's main trial is called among its trials
_DIGITS = 6


@dataclass(frozen=True)
class Baseline:
    """The stored result of a case.

    Attributes:
        case: its id, and what it consists of.
        accuracy: fractions, per task and ``mean``.
        outcomes: per task ``n``, ``correct`` or ``scores`` (packed) and ``predictions`` (digest).
        references: accuracy per task of the base model and the experts, measured along with it, and
            ``reference_outcomes`` which examples those had right.
        data: digest of the examples, by task.
        costs: ``fusion_ratio`` (to the calibration kernel), ``fusion_seconds``, ``fusion_memory_mb``.
        trials: of a protocol, by name: ``outcomes`` as above, and ``data`` where it is not that of the main trial.
        plugins: the user's own code that it ran, by module.
        accepted: who said, when, why, that a change is right: date, commit, because, mean before.
    """

    case: dict[str, Any]
    kind: str
    deterministic: bool
    accuracy: dict[str, float]
    outcomes: dict[str, dict[str, Any]]
    references: dict[str, dict[str, float]]
    reference_outcomes: dict[str, dict[str, dict[str, Any]]]
    data: dict[str, str]
    costs: dict[str, float]
    config: dict[str, Any]
    fingerprint: str
    commit: str
    versions: dict[str, str]
    machine: str
    date: str
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def id(self) -> str:
        """The case's id."""
        return str(self.case["id"])

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the pool's order."""
        return tuple(self.outcomes)

    def outcome(self, task: str) -> np.ndarray:
        """Which examples of a task were right, bool ``(n,)``; or how each scored, float64 ``(n,)``."""
        return outcome_of(self.outcomes[task], f"baseline of {self.id}, task {task}")

    def outcomes_of(self, trial: str) -> dict[str, dict[str, Any]]:
        """By task; of the main trial where it is named `MAIN`."""
        found: dict[str, dict[str, Any]] = self.trials[trial]["outcomes"] if trial != MAIN else self.outcomes
        return found

    def data_of(self, trial: str, task: str) -> str | None:
        """The digest of the examples that a trial was evaluated on; None where it is not known."""
        own: str | None = self.trials.get(trial, {}).get("data", {}).get(task)
        return own or self.data.get(task)


def outcome_of(outcome: Mapping[str, Any], where: str) -> np.ndarray:
    """Which examples of an outcome were right, bool ``(n,)``; or how each scored, float64 ``(n,)``."""
    try:
        return unpack_outcome(outcome)
    except FusionBenchError as error:
        raise FusionBenchError(f"{where}: {error.message}") from error


def sources_of(result: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Which source each example of a result comes from, by trial and task, where some share one.

    No baseline holds them: its examples are those of the result, or are not compared.

    Example:
        >>> from fusion_bench.metrics.packing import pack_sources
        >>> sources_of({"outcomes": {"t": {"n": 3}}, "clusters": {"t": pack_sources(["a", "b", "a"])}})
        {'': {'t': array([0, 1, 0])}}
    """
    found = {MAIN: result, **{trial["name"]: trial for trial in result.get("trials", ()) if "outcomes" in trial}}
    return {
        name: {task: unpack_sources(text, of["outcomes"][task]["n"]) for task, text in of["clusters"].items()}
        for name, of in found.items()
        if of.get("clusters")
    }


def _trials(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The trials beside the main one, without what they share with it."""
    found = {}
    for trial in result.get("trials", ()):
        if "outcomes" in trial:
            own = {task: mark for task, mark in trial["data"].items() if mark != result["data"].get(task)}
            found[trial["name"]] = {"outcomes": trial["outcomes"], **({"data": own} if own else {})}
    return found


def from_result(result: Mapping[str, Any], *, date: str, accepted: list[dict[str, Any]] | None = None) -> Baseline:
    """The baseline that a case result makes.

    Args:
        result: `CaseResult.to_dict`, or the content of a ``report.json``.
        date: when it ran, ``2026-11-25``.

    Raises:
        FusionBenchError: a result that does not say which examples were right.
    """
    case, metrics, tags = result["case"], result["metrics"], result.get("tags", {})
    if set(result.get("outcomes", ())) != set(result["tasks"]):
        raise FusionBenchError(
            f"the run of {case['id']} does not say which examples were right",
            hint="it was made by an older version; run the case again",
        )
    names = ("fusion_ratio", "fusion_seconds", "fusion_memory_mb")
    return Baseline(
        case=dict(case),
        kind=result["kind"],
        deterministic=result.get("deterministic", True),
        accuracy={name: round(metrics[f"accuracy/{name}"], _DIGITS) for name in (*result["tasks"], "mean")},
        outcomes={task: dict(result["outcomes"][task]) for task in result["tasks"]},
        references={
            name: {task: round(value, _DIGITS) for task, value in values.items()}
            for name, values in result.get("references", {}).items()
        },
        reference_outcomes=result.get("reference_outcomes", {}),
        data=dict(result.get("data", {})),
        costs={name: float(f"{metrics[f'cost/{name}']:.4g}") for name in names if f"cost/{name}" in metrics},
        config=result["config"],
        fingerprint=result["fingerprint"],
        commit=tags.get("commit", ""),
        versions=json.loads(tags.get("versions", "{}")),
        machine=tags.get("machine", ""),
        date=date,
        trials=_trials(result),
        plugins=dict(result.get("plugins", {})),
        accepted=list(accepted or []),
    )


def path_of(folder: Path, case: Mapping[str, Any]) -> Path:
    """Where a case's baseline lies.

    Example:
        >>> case = {"id": "ties-clip_mini-mini8", "modelpool": "clip_mini", "taskpool": "mini8"}
        >>> path_of(Path("bench/baselines"), case).as_posix()
        'bench/baselines/clip_mini/mini8/ties.json'
    """
    label = str(case["id"]).removesuffix(f"-{case['modelpool']}-{case['taskpool']}")
    name = re.sub(r"[^A-Za-z0-9_.=,\[\]-]+", "_", label)
    if name != label or len(name) > 100:  # what was cut off or replaced told two cases apart
        name = f"{name[:100]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return folder / str(case["modelpool"]) / str(case["taskpool"]) / f"{name}.json"


def read(path: Path) -> Baseline:
    """Read one.

    Raises:
        FusionBenchError: no such file, no JSON, an older or newer schema, fields missing.
    """
    renew = "make it anew: pytest bench --update-baseline"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FusionBenchError(f"no baseline {path}", hint=renew) from None
    except (OSError, ValueError) as error:
        raise FusionBenchError(f"the baseline {path} cannot be read: {error}", hint=renew) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema not in SCHEMAS:
        known = " and ".join(map(str, SCHEMAS))
        raise FusionBenchError(f"the baseline {path} is of schema {schema!r}, this version reads {known}", hint=renew)
    try:
        found = Baseline(**content)
        for task in found.tasks:
            found.accuracy[task]
        for trial in (MAIN, *found.trials):
            for task, outcome in found.outcomes_of(trial).items():
                outcome["predictions"], outcome_of(outcome, f"baseline of {found.id}, {trial} task {task}")
    except (TypeError, KeyError, AttributeError) as error:
        raise FusionBenchError(f"the baseline {path} is not whole: {error}", hint=renew) from error
    return found


def write(folder: Path, baseline: Baseline) -> Path:
    """Write it, whole or not at all, and say where; keys in a fixed order, so that a diff shows what changed."""
    path = path_of(folder, baseline.case)
    text = json.dumps(asdict(baseline), indent=1, ensure_ascii=False) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise FusionBenchError(f"cannot write the baseline {path}: {error.strerror}") from error
    return path


def find(folder: Path, case_id: str) -> Path:
    """The file of a case by its id, or by what is unambiguous of it.

    Raises:
        FusionBenchError: none, with the nearest ids; or several.
    """
    known = {}
    for path in sorted(folder.glob("*/*/*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known[json.loads(path.read_text(encoding="utf-8"))["case"]["id"]] = path
    if case_id in known:
        return known[case_id]
    matching = [name for name in known if name.startswith(f"{case_id}-")]
    if len(matching) == 1:
        return known[matching[0]]
    if matching:
        raise FusionBenchError(f"{case_id!r} is the baseline of several cases: {', '.join(matching)}")
    raise unknown_name("baseline", case_id, sorted(known), where=str(folder))
