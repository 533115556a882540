"""Paths on a model whose loss is a quadratic of its weights, so that every number is known in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from torch import Tensor, nn

from fusion_bench.analysis import loss_path
from fusion_bench.analysis.paths import barrier, excess
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter

DIMENSION = 4


class Weights(nn.Module):
    """Nothing but its weights."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta, requires_grad=False)


class WeightsPool(ModelPool):
    """Models that are vectors."""

    name = "vectors"
    has_multitask = False  # type: ignore[assignment]

    def __init__(self, states: Mapping[str, Tensor]) -> None:
        self.states = {name: {"theta": theta, "steps": torch.tensor(3)} for name, theta in states.items()}
        self.expert_names = tuple(name for name in states if name != "base")

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        return self.states[name]

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        assert int(state["steps"]) == 3  # what is no direction is the base's
        return Weights(state["theta"].clone())

    def text_features(self, prompts: Any) -> Tensor:
        raise NotImplementedError

    logit_scale = 1.0  # type: ignore[assignment]

    def content_hash(self) -> str:
        return "vectors"

    def save(self, model: nn.Module, folder: Any) -> None:
        raise NotImplementedError


class Quadratic(TaskAdapter):
    """Examples with the loss K + s/2 (θ − c)ᵀ H (θ − c), each with a centre c of its own.

    Of two logits (z, 0) the first is right: the loss is ln(1 + e^−z), so z = −ln(e^L − 1) gives the loss L.
    """

    classes = ("right", "wrong")

    def __init__(self, task: str, centres: Tensor, curvature: Tensor, *, sign: float = 1.0, level: float = 1.0) -> None:
        self.task, self.centres, self.curvature, self.sign, self.level = task, centres, curvature, sign, level

    def value(self, theta: Tensor) -> Tensor:
        off = theta - self.centres
        return self.level + self.sign / 2 * torch.einsum("ei,ij,ej->e", off, self.curvature, off)

    def size(self, split: str) -> int:
        return len(self.centres)

    def inputs(self, split: str) -> Iterator[Tensor]:
        assert split == "validation"
        yield torch.zeros(len(self.centres))

    def labels(self, split: str) -> Tensor:
        return torch.zeros(len(self.centres), dtype=torch.int64)

    def logits(self, model: nn.Module, batch: Tensor) -> Tensor:
        right = -torch.log(torch.expm1(self.value(model.theta)))
        return torch.stack([right, torch.zeros_like(right)], dim=1)

    def data_hash(self, split: str) -> str:
        return self.task


def task(seed: int, name: str = "t", **more: float) -> Quadratic:
    generator = torch.Generator().manual_seed(seed)
    centres = 0.3 * torch.randn(5, DIMENSION, generator=generator, dtype=torch.float64)
    root = torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)
    return Quadratic(name, centres, root @ root.T / DIMENSION, **more)


def vectors(seed: int = 0) -> WeightsPool:
    generator = torch.Generator().manual_seed(seed)
    made = {n: 0.4 * torch.randn(DIMENSION, generator=generator, dtype=torch.float64) for n in ("base", "t", "u")}
    return WeightsPool(made)


@pytest.mark.parametrize(("sign", "level"), [(1.0, 1.0), (-1.0, 60.0)], ids=["bowl", "hill"])
@pytest.mark.parametrize("ends", [("base", "t"), ("t", "u")], ids="-".join)
def test_the_loss_is_the_quadratic_and_its_barrier_known(sign: float, level: float, ends: tuple[str, str]) -> None:
    pool, adapter = vectors(1), task(2, sign=sign, level=level)
    found = loss_path(pool, {"t": adapter}, *ends, points=9)
    start, end = (pool.states[name]["theta"] for name in ends)
    expected = [float(adapter.value((1 - t) * start + t * end).mean()) for t in found.t]
    assert found.loss == pytest.approx(expected, rel=1e-10)
    step = end - start
    bend = float(step @ adapter.curvature @ step)
    assert excess(found.t, found.loss) == pytest.approx(-sign * bend / 2 * found.t * (1 - found.t), abs=1e-9)
    assert found.barrier == pytest.approx(0.0 if sign > 0 else bend / 8, abs=1e-9)
    assert bend > 1e-2


def test_accuracy_counts_losses_below_ln_two() -> None:
    pool, adapter = vectors(3), task(4, level=0.3)
    found = loss_path(pool, {"t": adapter}, "t", "u", points=5)
    ends = [pool.states[name]["theta"] for name in ("t", "u")]
    losses = [adapter.value((1 - t) * ends[0] + t * ends[1]) for t in found.t]
    assert found.accuracies[:, 0] == pytest.approx([float((loss < np.log(2)).double().mean()) for loss in losses])
    assert 0 < found.accuracy.mean() < 1


def test_several_tasks_are_averaged_and_can_be_chosen() -> None:
    pool = vectors()
    adapters = {"t": task(1, "t"), "u": task(2, "u", level=2.0)}
    both = loss_path(pool, adapters, "t", "u", points=3)
    one = loss_path(pool, adapters, "t", "u", tasks=["u"], points=3)
    assert both.tasks == ("t", "u")
    assert both.losses.shape == both.accuracies.shape == (3, 2)
    assert both.losses[:, 1] == pytest.approx(one.loss)
    assert both.loss == pytest.approx(both.losses.mean(axis=1))


def test_a_path_the_other_way_is_the_same_path_back() -> None:
    pool, adapters = vectors(), {"t": task(1)}
    there, back = loss_path(pool, adapters, "t", "u"), loss_path(pool, adapters, "u", "t")
    assert there.loss == pytest.approx(back.loss[::-1])
    assert there.barrier == pytest.approx(back.barrier)


def test_the_models_of_the_pool_are_the_ends_and_are_not_touched() -> None:
    pool, adapters = vectors(), {"t": task(1)}
    before = {name: state["theta"].clone() for name, state in pool.states.items()}
    built: list[Any] = []
    build = pool.build
    pool.build = lambda state: built.append(state) or build(state)  # type: ignore[method-assign]
    loss_path(pool, adapters, "t", "u", points=4)
    loss_path(pool, adapters, "t", "u", points=4)
    assert len(built) == 2 + 2 + 2  # the ends once, the inner points each time
    assert all(torch.equal(pool.states[name]["theta"], theta) for name, theta in before.items())


def test_what_is_refused() -> None:
    pool, adapters = vectors(), {"t": task(1)}
    with pytest.raises(FusionBenchError, match="points = 1"):
        loss_path(pool, adapters, "t", "u", points=1)
    with pytest.raises(FusionBenchError, match="unknown model 'v'"):
        loss_path(pool, adapters, "t", "v")
    with pytest.raises(FusionBenchError, match="unknown task 'w'"):
        loss_path(pool, adapters, "t", "u", tasks=["w"])
    corner = torch.full((DIMENSION,), 3.0).double()
    pool, adapters = WeightsPool({"base": corner, "t": corner, "u": -corner}), {"t": task(1, level=-0.5)}
    with pytest.raises(FusionBenchError, match=r"not finite at t = 0\.5 between 't' and 'u'"):
        loss_path(pool, adapters, "t", "u", points=3)  # a loss below 0 has no logit


LOSSES = nps.arrays(np.float64, st.integers(2, 9), elements=st.floats(-1e3, 1e3))


@given(LOSSES, st.floats(-10, 10), st.floats(-10, 10))
def test_a_barrier_does_not_see_a_line_added(losses: np.ndarray, intercept: float, slope: float) -> None:
    t = np.linspace(0, 1, len(losses))
    tilted = losses + intercept + slope * t
    assert barrier(t, tilted) == pytest.approx(barrier(t, losses), abs=1e-9)
    assert barrier(t, losses) >= 0
    assert excess(t, losses)[[0, -1]] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("t", [[0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.5, 1.0], [0.0], [0.0, 0.5, 1.0]])
def test_positions_must_lead_from_end_to_end(t: list[float]) -> None:
    with pytest.raises(FusionBenchError, match="losses at t"):
        excess(np.array(t), np.zeros(len(t) if len(t) != 3 else 2))
