"""DARE: rescaled by 1/density, unbiased, and masks that depend on no order."""

import math

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
