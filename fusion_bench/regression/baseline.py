"""What a case measured when somebody last said it was right: a text file that a review can read.

``<folder>/<modelpool>/<taskpool>/<case>.json``: accuracies in plain figures, which examples were right packed into a
line a task, and where all of it comes from (data, configuration, commit, versions, machine).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.metrics.packing import unpack

SCHEMA = 1
_DIGITS = 6


@dataclass(frozen=True)
class Baseline:
    """The stored result of a case.

    Attributes:
        case: its id, and what it consists of.
        accuracy: fractions, per task and ``mean``.
        outcomes: per task ``n``, ``correct`` (packed) and ``predictions`` (digest).
        references: accuracy per task of the base model and the experts, measured along with it, and
            ``reference_outcomes`` which examples those had right.
        data: digest of the examples, by task.
        costs: ``fusion_ratio`` (to the calibration kernel), ``fusion_seconds``, ``fusion_memory_mb``.
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

    def correct(self, task: str) -> np.ndarray:
        """Which examples of a task were right, bool ``(n,)``."""
        outcome = self.outcomes[task]
        try:
            return unpack(outcome["correct"], outcome["n"])
        except FusionBenchError as error:
            raise FusionBenchError(f"baseline of {self.id}, task {task}: {error.message}") from error


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
    if schema != SCHEMA:
        raise FusionBenchError(f"the baseline {path} is of schema {schema!r}, this version reads {SCHEMA}", hint=renew)
    try:
        found = Baseline(**content)
        for task in found.tasks:
            found.correct(task), found.accuracy[task], found.outcomes[task]["predictions"]
    except (TypeError, KeyError, AttributeError) as error:
        raise FusionBenchError(f"the baseline {path} is not whole: {error}", hint=renew) from error
    return found


def write(folder: Path, baseline: Baseline) -> Path:
    """Write it, whole or not at all, and say where; keys in a fixed order, so that a diff shows what changed."""
    path = path_of(folder, baseline.case)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(asdict(baseline), indent=1, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise FusionBenchError(f"cannot write the baseline {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def same_measurement(first: Baseline, second: Baseline) -> bool:
    """Whether two differ in nothing but seconds and commits: then the older file can stay as it is."""
    names = ("outcomes", "reference_outcomes", "data", "config", "versions", "machine", "deterministic")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def rewrite(folder: Path, now: Baseline, *, because: str | None = None, costlier: bool = False) -> str:
    """Make a result the baseline of its case; what was accepted before stays. Returns "new", "rewritten", "as before".

    A file that measured the same is left as it is. The lower cost stays: a case that runs alone pays for what the first
    of a session loads and compiles.

    Args:
        because: why the change is right; kept in the file.
        costlier: the new costs are right although they are higher.
    """
    path = path_of(folder, now.case)
    old, accepted = None, []
    if path.is_file():
        try:
            old = read(path)
            accepted = list(old.accepted)
        except FusionBenchError:  # damaged or of another schema: that is what this mends, but for what was accepted
            accepted = _rescued(path)
    if old is not None and same_measurement(old, now) and not costlier:
        return "as before"
    if old is not None and not costlier:
        now = dataclasses.replace(now, costs={n: min(v, old.costs.get(n, v)) for n, v in now.costs.items()})
    if because is not None:
        was = None if old is None else old.accuracy["mean"]
        accepted.append({"date": now.date, "commit": now.commit, "because": " ".join(because.split()), "was": was})
    write(folder, dataclasses.replace(now, accepted=accepted))
    return "new" if old is None else "rewritten"


def _rescued(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    except (OSError, ValueError, AttributeError):
        return []
    return found if isinstance(found, list) else []


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
