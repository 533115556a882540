"""TIES against a plain NumPy reading of the paper, and each of its rules by hand."""

import itertools

import numpy as np
import pytest
import torch

from fusion_bench.algorithms.ties import Ties, ties
from fusion_bench.errors import FusionBenchError


def reference(base, experts, density, scaling):
    """Flatten everything in the order of names, sort magnitudes, loop over nothing clever."""
    names = sorted(n for n, t in base.items() if t.is_floating_point())

    def flat(state):
        return np.concatenate([state[n].double().numpy().ravel() for n in names])

    theta = flat(base)
    deltas = []
    for expert in experts.values():
        delta = flat(expert) - theta
        keep = np.argsort(-np.abs(delta), kind="stable")[: round(density * delta.size)]
        trimmed = np.zeros_like(delta)
        trimmed[keep] = delta[keep]
        deltas.append(trimmed)
    deltas = np.stack(deltas)
    sign = np.sign(deltas.sum(axis=0))
    sign[sign == 0] = np.sign(sign.sum())
    agrees = (np.sign(deltas) == sign) & (deltas != 0)
    update = np.where(agrees, deltas, 0).sum(axis=0) / np.maximum(agrees.sum(axis=0), 1)
    return theta + scaling * update, names


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_whole_method(density, seed, make_models):
    # the models' values lie on a grid: equal magnitudes at the threshold and sums of exactly zero do occur
    base, experts = make_models(6, seed=seed)
    merged = ties(base, experts, density=density, scaling=0.7)
    expected, names = reference(base, experts, density, 0.7)
    found = np.concatenate([merged[n].numpy().ravel() for n in names])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def one(*values):
    return {"w": torch.zeros(len(values[0]))}, [{"w": torch.tensor([float(x) for x in v])} for v in values]


def merged(*values, **options):
    return ties(*one(*values), **{"density": 1.0, **options})["w"].tolist()


def test_sign_follows_mass_not_count():
    assert merged([1], [1], [-3]) == [-3]


def test_only_agreeing_non_zero_entries_are_averaged():
    assert merged([4, 4], [2, 0], [-1, 0]) == [3, 4]


def test_exact_cancellation_takes_the_majority_sign_of_the_model():
    assert merged([2, 1, 1, -1], [-2, 1, 1, -1]) == [2, 1, 1, -1]
    assert merged([2, -1, -1, 1], [-2, -1, -1, 1]) == [-2, -1, -1, 1]


def test_majority_counts_all_tensors():
    base = {"a": torch.zeros(1), "b": torch.zeros(3)}
    experts = [{"a": torch.tensor([s * 2.0]), "b": torch.tensor([-1.0, -1.0, 1.0])} for s in (1, -1)]
    assert ties(base, experts, density=1.0)["a"].tolist() == [-2]


def test_balanced_models_leave_cancelled_entries_unmoved():
    assert merged([2, 1, -1], [-2, 1, -1]) == [0, 1, -1]


def test_trimming_is_over_the_whole_model_not_per_tensor():
    base = {"small": torch.zeros(4), "large": torch.zeros(4)}
    expert = {"small": torch.full((4,), 0.1), "large": torch.full((4,), 9.0)}
    result = ties(base, [expert], density=0.5)
    assert result["small"].tolist() == [0] * 4
    assert result["large"].tolist() == [9] * 4


def test_each_expert_is_trimmed_by_its_own_threshold():
    assert merged([9, 8, 7, 6], [0.1, 0.2, 0.3, 0.4], density=0.5) == pytest.approx([9, 8, 0.3, 0.4])


def test_density_one_with_equal_signs_is_the_mean():
    assert merged([1, 2], [3, 4]) == [2, 3]


def test_support_grows_with_density(make_models):
    base, experts = make_models()
    supports = []
    for density in (0.05, 0.2, 0.6, 1.0):
        result = ties(base, experts, density=density)
        supports.append(torch.cat([(result[n] != base[n]).flatten() for n in sorted(base) if n != "steps"]))
    for small, large in itertools.pairwise(supports):
        assert int(small.sum()) < int(large.sum())


def test_defaults_are_the_papers():
    assert Ties() == Ties(density=0.2, scaling=1.0)


@pytest.mark.parametrize("density", [0.0, -1, 1.0001, 20, float("nan")])
def test_density_is_a_share_never_a_percentage(density):
    with pytest.raises(FusionBenchError, match="density"):
        merged([1.0], density=density)
