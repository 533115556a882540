"""DARE: rescaled by 1/density, unbiased, and masks that depend on no order."""

import math

import numpy as np
import pytest
import torch

from fusion_bench.algorithms.dare_task_arithmetic import DareTaskArithmetic, dare_task_arithmetic
from fusion_bench.algorithms.dare_ties import DareTies, dare_ties
from fusion_bench.algorithms.task_arithmetic import task_arithmetic
from fusion_bench.algorithms.ties import ties
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.masks import bernoulli_mask


def survivors(base, experts, **options):
    """What DARE leaves of every task vector: names of experts to names of tensors to entries."""
    found = {}
    for name in experts:
        steps = DareTaskArithmetic(scaling=1.0, **options).task_vector(base, {name: experts[name]})
        found[name] = steps
    return found


def deltas(base, expert):
    return {n: expert[n].double() - t.double() for n, t in base.items() if t.is_floating_point()}


def test_every_entry_is_dropped_or_divided_by_the_density(make_models):
    base, experts = make_models()
    thinned = survivors(base, experts, density=0.25, seed=3)
    for expert, state in experts.items():
        for name, before in deltas(base, state).items():
            mask = bernoulli_mask(before.numel(), 0.25, seed=3, expert=expert, tensor=name).reshape(before.shape)
            assert torch.equal(thinned[expert][name], torch.where(mask, 4 * before, torch.zeros_like(before)))


def test_l1_rescaling_keeps_the_magnitude_of_each_tensor(make_models):
    base, experts = make_models()
    thinned = survivors(base, experts, density=0.5, seed=3, rescale="l1")
    for expert, state in experts.items():
        for name, before in deltas(base, state).items():
            mask = bernoulli_mask(before.numel(), 0.5, seed=3, expert=expert, tensor=name).reshape(before.shape)
            kept = before * mask
            factor = before.abs().sum() / kept.abs().sum() if kept.any() else 0.0
            torch.testing.assert_close(thinned[expert][name], kept * factor)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_share_kept_is_the_density(density):
    n = 50_000
    base, expert = {"w": torch.zeros(n)}, {"w": torch.ones(n)}
    kept = int((dare_task_arithmetic(base, [expert], density=density, scaling=1.0)["w"] != 0).sum())
    assert abs(kept - n * density) < 4 * math.sqrt(n * density * (1 - density))


def test_the_mean_over_seeds_is_the_task_vector():
    base, expert = {"w": torch.zeros(4)}, {"w": torch.tensor([1.0, -2.0, 3.0, 0.5])}
    runs = 400
    total = sum(
        dare_task_arithmetic(base, [expert], density=0.5, scaling=1.0, seed=s)["w"].double() for s in range(runs)
    )
    sigma = expert["w"].double().abs() / math.sqrt(runs)  # standard deviation of x·m/0.5 is |x|
    assert bool(((total / runs - expert["w"]).abs() < 4 * sigma).all())


def test_a_models_mask_does_not_depend_on_who_else_is_merged(make_models):
    base, experts = make_models()
    apart = survivors(base, experts, density=0.5, seed=0)
    together = DareTaskArithmetic(scaling=1.0, density=0.5).task_vector(base, experts)
    for name, total in together.items():
        assert torch.equal(total, sum(apart[expert][name] for expert in sorted(experts)))


def test_experts_and_tensors_of_one_shape_get_different_masks():
    base = {"a": torch.zeros(64), "b": torch.zeros(64)}
    same = {"a": torch.ones(64), "b": torch.ones(64)}
    found = survivors(base, {"x": same, "y": same}, density=0.5, seed=0)
    masks = [found[e][n] for e in "xy" for n in "ab"]
    assert all(not torch.equal(m, k) for i, m in enumerate(masks) for k in masks[:i])


@pytest.mark.parametrize("kind", [DareTaskArithmetic, DareTies])
def test_seed_decides(kind, make_models):
    models = make_models()
    first, again, other = (kind(seed=s).merge(*models)["linear.weight"] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_density_one_is_the_method_without_dare(make_models):
    models = make_models()
    plain, dare = task_arithmetic(*models, scaling=0.4), dare_task_arithmetic(*models, density=1.0, scaling=0.4)
    assert all(torch.equal(plain[n], dare[n]) for n in plain)
    plain, dare = ties(*models, density=0.3), dare_ties(*models, density=1.0, trim_density=0.3)
    assert all(torch.equal(plain[n], dare[n]) for n in plain)


def test_ties_trims_the_rescaled_survivors(make_models):
    base, experts = make_models(1)
    left = survivors(base, experts, density=0.5, seed=0)["cars"]
    total = sum(tensor.numel() for tensor in left.values())
    merged = dare_ties(base, experts, density=0.5, trim_density=0.2, seed=0)
    moved = {n: merged[n] != base[n] for n in left}
    assert sum(int(m.sum()) for m in moved.values()) == round(0.2 * total)
    for name, mask in moved.items():
        assert not (mask & (left[name] == 0)).any()


@pytest.mark.parametrize("options", [{"density": 0.0}, {"density": 1.1}, {"seed": -1}])
@pytest.mark.parametrize("method", [dare_task_arithmetic, dare_ties])
def test_options_out_of_range(method, options, make_models):
    with pytest.raises(FusionBenchError, match=next(iter(options))):
        method(*make_models(), **options)


def thinned_by_numpy(base, experts, density, seed, l1):
    """Every expert's task vector after the drop, by name of tensor, in plain NumPy."""
    found = {}
    for expert, state in experts.items():
        for name, before in deltas(base, state).items():
            before = before.numpy()
            mask = bernoulli_mask(before.size, density, seed=seed, expert=expert, tensor=name).numpy()
            kept = np.where(mask.reshape(before.shape), before, 0.0)
            total = np.abs(kept).sum()
            found[expert, name] = kept * ((np.abs(before).sum() / total if total else 0.0) if l1 else 1 / density)
    return found


@pytest.mark.parametrize("rescale", ["density", "l1"])
@pytest.mark.parametrize("density", [0.3, 0.9])
def test_task_arithmetic_as_a_whole_against_numpy(density, rescale, make_models):
    base, experts = make_models(4)
    merged = dare_task_arithmetic(base, experts, density=density, scaling=0.4, seed=5, rescale=rescale)
    thinned = thinned_by_numpy(base, experts, density, 5, rescale == "l1")
    for name in deltas(base, base):
        expected = base[name].double().numpy() + 0.4 * sum(thinned[expert, name] for expert in experts)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rescale", ["density", "l1"])
def test_ties_as_a_whole_against_numpy(rescale, make_models):
    base, experts = make_models(4)
    merged = DareTies(density=0.6, trim_density=0.5, scaling=0.8, seed=2, rescale=rescale).merge(base, experts)
    thinned = thinned_by_numpy(base, experts, 0.6, 2, rescale == "l1")
    names = sorted(deltas(base, base))
    flat = np.stack([np.concatenate([thinned[expert, n].ravel() for n in names]) for expert in experts])
    for row in flat:
        row[np.argsort(-np.abs(row), kind="stable")[round(0.5 * row.size) :]] = 0.0
    sign = np.sign(flat.sum(axis=0))
    sign[sign == 0] = np.sign(sign.sum())
    agrees = (np.sign(flat) == sign) & (flat != 0)
    step = np.where(agrees, flat, 0.0).sum(axis=0) / np.maximum(agrees.sum(axis=0), 1)
    expected = np.concatenate([base[n].double().numpy().ravel() for n in names]) + 0.8 * step
    found = np.concatenate([merged[n].numpy().ravel() for n in names])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
