"""What the analyses of models on data show: their tables, and the few numbers that go into a run as metrics."""

from __future__ import annotations

import itertools

import numpy as np

from fusion_bench.analysis import paths, transfer
from fusion_bench.analysis.deltas import mean_pair
from fusion_bench.analysis.subject import Findings, Subject
from fusion_bench.analysis.table import Table
from fusion_bench.modelpools.base import BASE, MULTITASK

FROM_BASE_POINTS = 6
BETWEEN_POINTS = 5


def show_paths(subject: Subject) -> Findings:
    """From the base to each expert on its task; between each two experts on both of theirs."""
    pool = subject.pool
    experts = [name for name in sorted(pool.expert_names) if name in subject.adapters]

    def walk(start: str, end: str, own: list[str], points: int) -> paths.LossPath:
        return paths.loss_path(pool, subject.adapters, start, end, tasks=own, points=points, **subject.evaluating)

    ways = {name: walk(BASE, name, [name], FROM_BASE_POINTS) for name in experts}
    tables: dict[str, Table] = {}
    metrics: dict[str, float] = {}
    for key, measure, unit in (("loss", "loss", "nats"), ("accuracy", "accuracy", "share correct")):
        if ways:
            tables[key] = Table.of(
                f"{measure} from the base to each expert",
                f"{measure} on the expert's task, {unit}",
                experts,
                next(iter(ways.values())).t.tolist(),
                [getattr(way, measure) for way in ways.values()],
                column_axis="t: 0 the base, 1 the expert",
                view="lines",
                low=0.0,
                high=1.0 if key == "accuracy" else None,
                note="θ(t) = (1 − t) θ₀ + t θ, on the validation split.",
            )
    metrics |= {f"barrier/{name}": way.barrier for name, way in ways.items()}
    if len(experts) > 1:
        barriers, middles = (np.zeros((len(experts), len(experts))) for _ in range(2))
        for i, j in itertools.combinations(range(len(experts)), 2):
            way = walk(experts[i], experts[j], [experts[i], experts[j]], BETWEEN_POINTS)
            barriers[i, j] = barriers[j, i] = way.barrier
            middle = paths.excess(way.t, way.loss)[len(way.t) // 2]
            middles[i, j] = middles[j, i] = middle
        where = f"mean loss on the two experts' tasks, validation split, {BETWEEN_POINTS} points"
        tables["barriers"] = Table.of(
            "loss barriers between experts",
            "barrier, nats",
            experts,
            experts,
            barriers,
            low=0.0,
            note=f"max over t of L(t) − ((1 − t) L(0) + t L(1)); {where}. 0: no point lies above the line.",
        )
        tables["middle"] = Table.of(
            "half way between experts",
            "loss above the line, nats",
            experts,
            experts,
            middles,
            centre=0.0,
            note=f"L(½) − (L(0) + L(1)) / 2; {where}. Below 0: the average is better than its parts on average.",
        )
        metrics |= {"barrier/experts_mean": mean_pair(barriers), "barrier/experts_largest": float(barriers.max())}
        metrics["excess/experts_middle"] = mean_pair(middles)
    return Findings(
        tables,
        metrics,
        {"points_from_base": FROM_BASE_POINTS, "points_between": BETWEEN_POINTS, **subject.how},
        "labels (validation)",
    )


def show_cross_task(subject: Subject) -> Findings:
    """Accuracies on the test split, and their difference from the base's."""
    pool, adapters = subject.pool, subject.adapters
    # experts in the order of their tasks, so that what each was tuned for lies on a diagonal
    experts = [t for t in adapters if t in pool.expert_names] + [e for e in pool.expert_names if e not in adapters]
    models = [BASE, *experts, *([MULTITASK] if pool.has_multitask else [])]
    found = transfer.cross_task(pool, adapters, models=models, **subject.evaluating)
    base, others = found.row(BASE), [name for name in found.models if name != BASE]
    tables = {
        "accuracy": Table.of(
            "every model on every task",
            "accuracy, %",
            found.models,
            found.tasks,
            100 * found.accuracy,
            row_axis="model",
            column_axis="task (test split)",
            low=0.0,
            high=100.0,
            digits=1,
            note="Share of correct predictions.",
        ),
        "change": Table.of(
            "what fine-tuning does to every task",
            "accuracy against the base, points",
            others,
            found.tasks,
            [100 * (found.row(name) - base) for name in others],
            row_axis="model",
            column_axis="task (test split)",
            centre=0.0,
            digits=1,
            note="Accuracy of the model less that of the base: the diagonal is learnt, the rest gained or forgotten.",
        ),
    }
    means = {"accuracy/base": base, "accuracy/own": np.array([*found.own().values()])}
    means["accuracy/elsewhere"] = np.array([*found.elsewhere().values()])
    if MULTITASK in found.models:
        means["accuracy/multitask"] = found.row(MULTITASK)
    metrics = {name: float(np.mean(values)) for name, values in means.items() if len(values)}
    for name, value in found.elsewhere().items():
        metrics[f"transfer/{name}"] = value - float(np.delete(base, found.tasks.index(name)).mean())
    return Findings(tables, metrics, subject.how, data_access="labels (test)")
