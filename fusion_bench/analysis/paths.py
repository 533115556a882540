"""Loss and accuracy on the straight line between two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_bench.algorithms.linear_interpolation import linear_interpolation
from fusion_bench.analysis.deltas import Array
from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.base import TaskAdapter, check_losses
from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True)
class LossPath:
    """What was measured on a path.

    Attributes:
        start, end: the models at t = 0 and t = 1.
        tasks: what was evaluated.
        t: positions, (p,).
        losses: mean cross-entropy in nats, (p, tasks).
        accuracies: shares of correct predictions, (p, tasks).
    """

    start: str
    end: str
    tasks: tuple[str, ...]
    t: Array
    losses: Array
    accuracies: Array

    @property
    def loss(self) -> Array:
        """The unweighted mean over tasks, (p,)."""
        return np.mean(self.losses, axis=1)

    @property
    def accuracy(self) -> Array:
        """The unweighted mean over tasks, (p,)."""
        return np.mean(self.accuracies, axis=1)

    @property
    def barrier(self) -> float:
        """`barrier` of the mean loss."""
        return barrier(self.t, self.loss)


def loss_path(
    pool: ModelPool,
    adapters: Mapping[str, TaskAdapter],
    start: str,
    end: str,
    *,
    tasks: Sequence[str] | None = None,
    points: int = 5,
    split: str = "validation",
    cache: LogitCache | None = None,
    device: str = "cpu",
    steps: Steps | None = None,
    progress: Progress = silent,
) -> LossPath:
    """Loss and accuracy of θ(t) = (1 − t) θ_start + t θ_end at evenly spaced t.

    θ(t) is formed in ``float64`` and rounded to the base's type; the ends are the pool's own models. Tensors that are
    no floating-point numbers are the base's. Batch statistics are not computed anew.

    Args:
        start, end: names of models of the pool.
        tasks: some of the adapters' names; all when None.
        points: of t, the ends among them; at least 2.
        split: with labels.
        cache: where logits of the pool's own models are kept and found.
        steps: how batches are run, as in `evaluate`.

    Raises:
        FusionBenchError: an unknown model or task; fewer than two points; a loss that is not finite.

    Example:
        >>> from fusion_bench import load_modelpool, load_taskpool
        >>> pool = load_modelpool("clip_mini")
        >>> adapters = load_taskpool("mini8").bind(pool)
        >>> found = loss_path(pool, adapters, "base", "mnist", tasks=["mnist"], points=3)
        >>> found.t.tolist(), bool(found.loss[0] > found.loss[-1])
        ([0.0, 0.5, 1.0], True)
    """
    if points < 2:
        raise FusionBenchError(f"points = {points}: a path has two ends", hint="2 or more")
    pool.check_name(start)
    pool.check_name(end)
    check_losses(adapters, adapters if tasks is None else tasks)
    positions = np.linspace(0.0, 1.0, points)
    losses, accuracies = [], []
    chosen = list(adapters) if tasks is None else list(tasks)
    for done, t in enumerate(positions):
        progress(f"{start} to {end}", done, points)
        model = _at(pool, start, end, float(t))
        found = evaluate(model, adapters, split=split, tasks=chosen, cache=cache, device=device, steps=steps)
        losses.append([found[task].mean_loss for task in chosen])
        accuracies.append([found[task].value for task in chosen])
        if not np.isfinite(losses[-1]).all():
            task = chosen[int(np.argmin(np.isfinite(losses[-1])))]
            raise FusionBenchError(
                f"the loss on {task} is not finite at t = {t:g} between {start!r} and {end!r}",
                hint="the models' weights or activations overflow there",
            )
    return LossPath(start, end, tuple(chosen), positions, np.array(losses), np.array(accuracies))


def excess(t: Array, loss: Array) -> Array:
    """L(t) − ((1 − t) L(0) + t L(1)): how far the loss lies above the line between its ends, (p,).

    Args:
        t: positions, rising from 0 to 1, (p,).
        loss: L(t), (p,).

    Raises:
        FusionBenchError: positions that do not rise from 0 to 1, or another number of losses.

    Example:
        >>> excess(np.array([0.0, 0.5, 1.0]), np.array([1.0, 5.0, 3.0])).tolist()
        [0.0, 3.0, 0.0]
    """
    if len(t) != len(loss) or len(t) < 2 or t[0] != 0.0 or t[-1] != 1.0 or not (np.diff(t) > 0).all():
        raise FusionBenchError(
            f"{len(loss)} losses at t = {np.asarray(t).tolist()}",
            hint="positions that rise from 0 to 1, and a loss for each",
        )
    found: Array = loss - ((1 - t) * loss[0] + t * loss[-1])
    return found


def barrier(t: Array, loss: Array) -> float:
    """max_t L(t) − ((1 − t) L(0) + t L(1)), never below 0, which it is at the ends.

    On a grid of t it is a lower bound of the barrier of the whole path.

    Args, errors: as `excess`.

    Source: Frankle et al. 2020, "Linear mode connectivity and the lottery ticket hypothesis", arXiv 1912.05671, who
    compare with the mean of the ends; with the line between them, Entezari et al. 2022, "The role of permutation
    invariance in linear mode connectivity of neural networks", arXiv 2110.06296.

    Example:
        >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, 5.0, 3.0]))
        3.0
        >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.0, 3.0]))
        0.0
    """
    return max(0.0, float(excess(t, loss).max()))


def _at(pool: ModelPool, start: str, end: str, t: float) -> nn.Module:
    if t in (0.0, 1.0):
        return pool.model(end if t else start)
    ends = {"end": pool.state_dict(end), "start": pool.state_dict(start)}
    return pool.build(linear_interpolation(pool.state_dict("base"), ends, t=t, between=("start", "end")))
