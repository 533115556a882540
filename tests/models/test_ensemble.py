"""Ensembles against NumPy, and what they refuse."""

import numpy as np
import pytest
import torch
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.models.ensemble import Ensemble, TaskRouted, elementwise_max, mean_probability, most_confident


def logits(count=3, batch=5, classes=4, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(batch, classes, generator=generator) for _ in range(count)]


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def identities(count=3):
    return {f"m{i}": nn.Identity() for i in range(count)}


def test_mean_probability_is_the_mean_of_the_softmaxes():
    zs = logits()
    expected = np.mean([softmax(z.double().numpy()) for z in zs], axis=0)
    np.testing.assert_allclose(mean_probability(zs).softmax(-1).numpy(), expected, rtol=1e-5)


def test_weighted_mean_normalises_and_a_zero_weight_leaves_a_member_out():
    zs = logits()
    ensemble = Ensemble(identities(), weights=[3.0, 0.0, 1.0])
    expected = 0.75 * softmax(zs[0].double().numpy()) + 0.25 * softmax(zs[2].double().numpy())
    np.testing.assert_allclose(ensemble.combine(zs).softmax(-1).numpy(), expected, rtol=1e-5)


def test_mean_probability_is_not_the_mean_of_logits():
    zs = [torch.tensor([[0.0, 100.0, 0.0]]), torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[3.0, 0.0, 0.0]])]
    assert int(mean_probability(zs).argmax()) == 0
    assert int(torch.stack(zs).mean(0).argmax()) == 1


@pytest.mark.parametrize("rule", ["mean_probability", "most_confident"])
def test_a_members_constant_shift_of_logits_changes_nothing(rule):
    zs = logits()
    shifted = [zs[0] + 40.0, *zs[1:]]
    ensemble = Ensemble(identities(), rule=rule)
    torch.testing.assert_close(ensemble.combine(shifted), ensemble.combine(zs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["mean_probability", "most_confident", "elementwise_max"])
def test_copies_of_one_member_predict_like_it(rule):
    z = logits(1)[0]
    combined = Ensemble(identities(), rule=rule).combine([z, z, z])
    torch.testing.assert_close(combined.softmax(-1), z.softmax(-1))


def test_most_confident_takes_each_example_from_its_surest_member():
    zs = logits()
    probabilities = np.stack([softmax(z.double().numpy()) for z in zs])
    winner = probabilities.max(axis=-1).argmax(axis=0)
    assert len(set(winner)) > 1  # otherwise one member would do
    expected = probabilities[winner, np.arange(5)]
    np.testing.assert_allclose(most_confident(zs).exp().numpy(), expected, rtol=1e-5)


def test_most_confident_gives_a_draw_to_the_first_member():
    assert int(most_confident([torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])]).argmax()) == 0


def test_most_confident_tells_near_certain_members_apart():
    sure, surer = torch.tensor([[25.0, 0.0]]), torch.tensor([[0.0, 30.0]])  # both are 1 in float32
    assert int(most_confident([sure, surer]).argmax()) == 1


def test_elementwise_max():
    zs = logits()
    np.testing.assert_array_equal(elementwise_max(zs).numpy(), np.max([z.numpy() for z in zs], axis=0))


def test_extreme_logits_stay_finite():
    zs = [torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])]
    assert torch.isfinite(mean_probability(zs)).all()
    torch.testing.assert_close(mean_probability(zs).exp(), torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "most_confidnt"}, "most_confident"),
        ({"weights": [1.0, 2.0]}, "3 members"),
        ({"weights": [1.0, -1.0, 1.0]}, "0 or more"),
        ({"weights": [0.0, 0.0, 0.0]}, "not all 0"),
        ({"weights": [1.0, 1.0, float("nan")]}, "do not fit"),
        ({"rule": "elementwise_max", "weights": [1.0, 1.0, 1.0]}, "takes no weights"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(FusionBenchError, match=message):
        Ensemble(identities(), **options)


def test_members_keep_name_order_and_identity():
    modules = {"keys": nn.Linear(1, 1), "a.b": nn.Linear(1, 1)}  # names that a ModuleDict would refuse
    ensemble = Ensemble(modules)
    assert list(ensemble.members) == ["keys", "a.b"]
    assert all(ensemble.members[name] is module for name, module in modules.items())
    assert sum(p.numel() for p in ensemble.parameters()) == 4


def test_wrong_number_of_logits():
    with pytest.raises(FusionBenchError, match="2 sets of logits for 3 members"):
        Ensemble(identities()).combine(logits(2))


def test_routed_model_answers_per_task():
    models = {"mnist": nn.Linear(1, 1), "svhn": nn.Linear(1, 1)}
    routed = TaskRouted(models)
    assert routed.for_task("svhn") is models["svhn"]
    with pytest.raises(FusionBenchError, match="'mnst'") as caught:
        routed.for_task("mnst")
    assert "'mnist'" in str(caught.value)


def test_nothing_to_combine():
    for kind in (Ensemble, TaskRouted):
        with pytest.raises(FusionBenchError, match="at least one"):
            kind({})
