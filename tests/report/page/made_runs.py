"""Made-up runs, without any store.

The models are made up so that statistics have something to find: every example has a difficulty, which is the same for
all methods, and examples of ``letters`` share theirs with others of their typeface.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from fusion_bench.metrics.packing import pack
from fusion_bench.metrics.predictions import Predictions

TASKS = ("mnist", "fashion", "animals", "letters")
CLASSES = 10
BEGAN = datetime(2026, 1, 5, 2, 0, tzinfo=timezone.utc)


@dataclass(frozen=True)
class World:
    """Examples with difficulties in [0, 1]; the same for every run."""

    tasks: tuple[str, ...] = TASKS
    size: int = 300
    seed: int = 0

    def examples(self, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Difficulty, label, and source of each example of a task."""
        rng = np.random.default_rng([self.seed, self.tasks.index(task)])
        size = self.size + 7 * self.tasks.index(task)
        difficulty, label = rng.random(size), rng.integers(CLASSES, size=size)
        if task != "letters":
            return difficulty, label, None
        typeface = rng.integers(25, size=size)
        return 0.5 * rng.random(25)[typeface] + 0.5 * difficulty, label, np.array([f"face {i}" for i in typeface])

    def predictions(
        self, skill: float, *, noise: int | None = None, harm: Mapping[str, float] | None = None
    ) -> dict[str, Predictions]:
        """What a method with a skill in [0, 1] says.

        Args:
            noise: seed of a method with chance in it: some of the hard decisions fall otherwise.
            harm: by task, what is taken off the skill.
        """
        found = {}
        for task in self.tasks:
            difficulty, label, source = self.examples(task)
            own = np.random.default_rng([self.seed, 99, self.tasks.index(task), int(1000 * skill)])
            level = difficulty + 0.15 * own.standard_normal(len(label))
            if noise is not None:
                level += 0.02 * np.random.default_rng([noise, self.tasks.index(task)]).standard_normal(len(label))
            right = level < skill - (harm or {}).get(task, 0.0)
            wrong = (label + 1 + (np.arange(len(label)) % (CLASSES - 1))) % CLASSES
            found[task] = Predictions(
                task,
                np.arange(len(label)),
                label,
                np.where(right, label, wrong),
                np.full(len(label), 0.5, dtype=np.float32),
                np.where(right, 0.2, 2.0),
                cluster=source,
            )
        return found


@dataclass
class MadeRun:
    """A run as the page wants one (`report.page.Run`), without any store."""

    run_id: str
    experiment: str
    started: datetime
    result: dict[str, Any]
    data: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    said: dict[str, Predictions] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        case = self.result["case"]
        return str(case["id"]).removesuffix(f"-{case['modelpool']}-{case['taskpool']}")

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.result["tasks"])

    @property
    def is_reference(self) -> bool:
        return bool(self.result["kind"] == "reference")

    def outcomes(self) -> dict[str, np.ndarray]:
        return {task: found.correct for task, found in self.said.items()}

    def predictions(self) -> dict[str, Predictions]:
        return self.said


def made_run(
    algorithm: str,
    said: Mapping[str, Predictions],
    *,
    kind: str = "merging",
    night: int = 0,
    overrides: Sequence[str] = (),
    pools: tuple[str, str] = ("made", "up4"),
    data: str = "d",
    access: Sequence[str] = ("weights",),
    search: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    seed: int | None = None,
    **costs: float,
) -> MadeRun:
    """A finished run; one commit and one session a night. All seeds of a label are one method."""
    changed = [o.removeprefix("algorithm.") for o in overrides] + ([] if seed is None else [f"seed={seed}"])
    label = algorithm + (f"[{','.join(changed)}]" if changed else "")
    accuracy = {task: found.value for task, found in said.items()}
    metrics = {f"accuracy/{task}": value for task, value in accuracy.items()}
    metrics |= {f"normalized/{task}": value / 0.95 for task, value in accuracy.items()}
    for name in ("accuracy", "normalized"):
        metrics[f"{name}/mean"] = float(np.mean([metrics[f"{name}/{task}"] for task in said]))
    measured = {"fusion_seconds": 0.1, "evaluation_seconds": 1.0, "peak_memory_mb": 800.0, "stored_parameters": 2e6}
    metrics |= {f"cost/{name}": float(value) for name, value in {**measured, **costs}.items()}
    commit = hashlib.sha256(f"night {night}".encode()).hexdigest()[:40]
    case = {"algorithm": algorithm, "modelpool": pools[0], "taskpool": pools[1], "overrides": list(overrides)}
    identity = f"{label}-{pools[0]}-{pools[1]}"
    tags = {
        "case": identity,
        "kind": kind,
        "session": f"session{night:04d}",
        "commit": commit,
        "versions": json.dumps({"python": "3.11.7", "torch": "2.9.0", **(versions or {})}),
        "machine": "Linux",
        "data_access": ", ".join(access),
    }
    result = {
        "case": {**case, "seed": seed, "device": "cpu", "id": identity},
        "seedless": "" if seed is None else f"{algorithm} {list(overrides)}",
        "kind": kind,
        "tasks": list(said),
        "metrics": metrics,
        "interval": [metrics["accuracy/mean"] - 0.02, metrics["accuracy/mean"] + 0.02],
        "data_access": list(access),
        "config": {
            "algorithm": {"type": algorithm, "scaling": 0.3, **({} if seed is None else {"seed": seed})},
            "seed": seed or 0,
            "device": "cpu",
        },
        "fingerprint": hashlib.sha256(f"{identity}{night}".encode()).hexdigest()[:32],
        "tags": tags,
        "references": {},
        "search": dict(search or {}),
        "outcomes": {
            task: {"n": len(p.label), "correct": pack(p.correct), "predictions": p.digest} for task, p in said.items()
        },
        "data": {task: hashlib.sha256(f"{data} {task}".encode()).hexdigest() for task in said},
        "deterministic": True,
        "run_id": "",
        "resumed": False,
        "schema": 1,
    }
    run_id = hashlib.sha256(f"{identity} {night} {data}".encode()).hexdigest()[:32]
    result["run_id"] = run_id
    started = BEGAN + timedelta(days=night, seconds=len(label))
    digests = {task: digest[:32] for task, digest in result["data"].items()}
    return MadeRun(run_id, "/".join(pools), started, result, digests, tags, dict(said))


def nights(
    methods: Mapping[str, float],
    count: int,
    *,
    world: World | None = None,
    harmed: str = "",
    since: int = 0,
    harm: float = 0.08,
    pools: tuple[str, str] = ("made", "up4"),
) -> list[MadeRun]:
    """Every method every night; from night ``since`` on the method ``harmed`` is worse on letters.

    The names ``pretrained`` and ``experts`` are bounds, names that begin with ``dare`` have chance in them.
    """
    world = world or World()
    found = []
    for night in range(count):
        for place, (name, skill) in enumerate(methods.items()):
            hurt = {"letters": harm} if name == harmed and night >= since else None
            noise = 1000 * night + place if name.startswith("dare") else None
            said = world.predictions(skill, noise=noise, harm=hurt)
            bound = name in ("pretrained", "experts")
            found.append(
                made_run(
                    name,
                    said,
                    kind="reference" if bound else "merging",
                    night=night,
                    pools=pools,
                    access=("weights", "labels (validation)") if skill > 0.6 and not bound else ("weights",),
                    fusion_seconds=0.01 * (place + 1),
                    versions={"torch": "2.9.1"} if hurt else None,
                )
            )
    return found


def five_hundred_runs() -> list[Any]:
    """Thirty methods in fifteen nights, and fifty values of an option: eighty rows, eight tasks of 1,225 examples."""
    world = World(
        tasks=("mnist", "fashion", "animals", "letters", "hangul", "radicals", "scripts", "artists"), size=1225
    )
    methods = {"pretrained": 0.35, "experts": 0.95} | {f"method_{i}": 0.45 + 0.01 * i for i in range(25)}
    methods |= {f"dare_{i}": 0.5 + 0.05 * i for i in range(3)}
    runs = nights(methods, 15, world=world, harmed="method_7", since=9)
    for i in range(50):
        overrides = [f"algorithm.scaling={i / 50}"]
        runs.append(made_run("ties", world.predictions(0.3 + 0.006 * i), night=14, overrides=overrides))
    return runs
