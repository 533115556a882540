"""How often the gate fails when nothing changed, and how often it catches what did: by simulating nights.

    python -m fusion_bench.regression.simulation --nights 1000

prints the table of docs/regression.md. A night is a matrix of cases on the same tasks. Chance is *churn*: the share of
examples that turn right or wrong though nothing was changed, as many one way as the other. A deterministic case has
none on the machine of its baseline, and what rounding turns on another; a case that trains may have a few per cent.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.metrics.mcnemar import mcnemar_p_values
from fusion_bench.metrics.packing import pack
from fusion_bench.regression.baseline import Baseline
from fusion_bench.regression.diagnosis import rounding_bound
from fusion_bench.regression.settings import Settings
from fusion_bench.regression.verdict import judge

HERE, ELSEWHERE = "this machine", "another machine"


@dataclass(frozen=True)
class Night:
    """What is simulated.

    Attributes:
        cases, tasks, examples: of the matrix; examples are per task.
        churn: share of a task's examples that turn right or wrong by chance.
        deterministic: whether the cases declare that nothing may turn.
        machine: HERE as in the baseline, or ELSEWHERE.
    """

    cases: int = 60
    tasks: int = 8
    examples: int = 2000
    churn: float = 0.0
    deterministic: bool = True
    machine: str = HERE


def false_alarms(night: Night, settings: Settings, *, nights: int, rng: np.random.Generator) -> int:
    """In how many of so many nights, in which nothing changed, any case of the matrix fails."""
    right = _accuracies(night, rng)
    failing = 0
    for _ in range(nights):
        lost = rng.binomial(right, night.churn * night.examples / 2 / right)
        gained = rng.binomial(night.examples - right, night.churn * night.examples / 2 / (night.examples - right))
        suspects = np.flatnonzero(_may_fail(night, settings, lost, gained))
        # what cannot fail, by bounds that are cheap, need not be judged; what can is judged as a real case is
        failing += any(
            judge(*_pair(night, right[i], lost[i], gained[i]), settings, cases=night.cases).fails for i in suspects
        )
    return failing


def catches(
    night: Night,
    settings: Settings,
    drop: Sequence[float],
    *,
    draws: int,
    rng: np.random.Generator,
    exact: bool = True,
) -> int:
    """How often one case fails that lost ``drop[t]`` of task t's examples, on top of churn.

    Args:
        exact: just so many examples are lost; otherwise each is lost by a chance with that mean.
    """
    caught = 0
    for _ in range(draws):
        right = _accuracies(dataclasses.replace(night, cases=1), rng)[0]
        wanted = np.array([round(share * night.examples) for share in drop])
        fallen = wanted if exact else rng.binomial(right, wanted / right)
        half = night.churn * night.examples / 2
        lost = np.minimum(right, fallen + rng.binomial(right, half / right))
        gained = rng.binomial(night.examples - right, half / (night.examples - right))
        caught += judge(*_pair(night, right, lost, gained), settings, cases=night.cases).fails
    return caught


def result_pair(night: Night, rng: np.random.Generator, *, lost: float, gained: float) -> tuple[Baseline, Baseline]:
    """A baseline and a later result of one case that lost and gained such shares of what it had right and wrong."""
    (right,) = _accuracies(dataclasses.replace(night, cases=1), rng)
    return _pair(night, right, rng.binomial(right, lost), rng.binomial(night.examples - right, gained))


def _accuracies(night: Night, rng: np.random.Generator) -> np.ndarray:
    """How many examples each case has right on each task, int64 ``(cases, tasks)``: between 30 and 95 per cent."""
    return rng.integers(int(0.3 * night.examples), int(0.95 * night.examples), size=(night.cases, night.tasks))


def _may_fail(night: Night, settings: Settings, lost: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Cases that a bound does not clear: of ``(cases, tasks)`` counts, bool ``(cases,)``."""
    level = settings.level / night.cases
    worst = mcnemar_p_values(gained, lost, alternative="less").min(axis=1) <= level
    net, discordant = (gained - lost).sum(axis=1), (gained + lost).sum(axis=1)
    worst |= net <= -2.5 * np.sqrt(np.maximum(discordant, 1))  # p < 0.01, far above any corrected level
    worst |= ((gained - lost) / night.examples).min(axis=1) < -settings.task_tolerance
    worst |= ((gained - lost) / night.examples).mean(axis=1) < -settings.mean_tolerance
    if night.deterministic:
        turned, here = lost + gained, night.machine == HERE
        tail = settings.level / 6 / night.cases
        one = 0 if here else rounding_bound(night.examples, settings.rounding, tail / night.tasks)
        worst |= turned.max(axis=1) > one
        whole = 0 if here else rounding_bound(night.examples * night.tasks, settings.rounding, tail)
        worst |= turned.sum(axis=1) > whole
    return worst


def _pair(night: Night, right: np.ndarray, lost: np.ndarray, gained: np.ndarray) -> tuple[Baseline, Baseline]:
    old, new = {}, {}
    for number in range(night.tasks):
        before = np.arange(night.examples) < right[number]
        after = before.copy()
        after[: lost[number]] = False
        after[right[number] : right[number] + gained[number]] = True
        old[f"task{number}"], new[f"task{number}"] = before, after
    return _baseline(night, old, HERE), _baseline(night, new, night.machine)


def _baseline(night: Night, correct: dict[str, np.ndarray], machine: str) -> Baseline:
    outcomes = {task: {"n": len(v), "correct": pack(v), "predictions": pack(v)} for task, v in correct.items()}
    accuracy = {task: float(v.mean()) for task, v in correct.items()}
    return Baseline(
        case={"id": "a-p-t", "algorithm": "a", "modelpool": "p", "taskpool": "t"},
        kind="merging",
        deterministic=night.deterministic,
        accuracy={**accuracy, "mean": float(np.mean(list(accuracy.values())))},
        outcomes=outcomes,
        references={},
        reference_outcomes={},
        data=dict.fromkeys(correct, "data"),
        costs={},
        config={},
        fingerprint="",
        commit="",
        versions={},
        machine=machine,
        date="2026-01-01",
    )


def main() -> None:
    """Print the table of docs/regression.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    settings, rng = Settings(), np.random.default_rng(options.seed)
    one, whole = [0.01] + [0.0] * 7, [0.005] * 8
    print("| cases | churn | A/A nights that fail | 1 point on one task | by chance 1 point | 0.5 points of the mean |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name, night in _SCENES.items():
        alarms = false_alarms(night, settings, nights=options.nights, rng=rng)
        found = [
            catches(night, settings, drop, draws=options.draws, rng=rng, exact=exact)
            for drop, exact in ((one, True), (one, False), (whole, True))
        ]
        shares = " | ".join(f"{100 * caught / options.draws:.1f} %" for caught in found)
        print(f"| {name} | {100 * night.churn:g} % | {alarms} of {options.nights} | {shares} |", flush=True)


_SCENES = {
    "deterministic, machine and versions of the baseline": Night(),
    "deterministic, another machine": Night(churn=0.00005, machine=ELSEWHERE),
    "deterministic, another machine, all that rounding may turn": Night(churn=0.0002, machine=ELSEWHERE),
    "not deterministic (training)": Night(churn=0.002, deterministic=False),
    "not deterministic, restless": Night(churn=0.02, deterministic=False),
}

if __name__ == "__main__":
    main()
