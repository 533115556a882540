"""The ensemble algorithms: which members, which rule, which weights."""

import pytest
import torch
from torch import nn

from fusion_bench.algorithms.max_model_predictor import MaxModelPredictor
from fusion_bench.algorithms.simple_ensemble import SimpleEnsemble
from fusion_bench.algorithms.weighted_ensemble import WeightedEnsemble
from fusion_bench.errors import FusionBenchError

MEMBERS = {"svhn": nn.Identity(), "cars": nn.Identity()}
LOGITS = [torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 3.0], [0.5, 0.0]])]


def test_simple_ensemble_averages_probabilities():
    combined = SimpleEnsemble().combine(MEMBERS).combine(LOGITS).exp()
    torch.testing.assert_close(combined, (LOGITS[0].softmax(-1) + LOGITS[1].softmax(-1)) / 2)


def test_weights_by_order_and_by_name():
    expected = 0.75 * LOGITS[0].softmax(-1) + 0.25 * LOGITS[1].softmax(-1)
    for weights in ([3, 1], {"cars": 1.0, "svhn": 3.0}):
        torch.testing.assert_close(WeightedEnsemble(weights=weights).combine(MEMBERS).combine(LOGITS).exp(), expected)


def test_without_weights_the_weighted_ensemble_is_the_simple_one():
    simple, weighted = (kind().combine(MEMBERS).combine(LOGITS) for kind in (SimpleEnsemble, WeightedEnsemble))
    assert torch.equal(simple, weighted)


def test_negative_weights_make_no_distribution():
    with pytest.raises(FusionBenchError, match="cannot be negative: cars"):
        WeightedEnsemble(weights=[2, -1]).combine(MEMBERS)


def test_max_model_predictor_and_its_variant():
    surest = MaxModelPredictor().combine(MEMBERS).combine(LOGITS).exp()
    torch.testing.assert_close(surest, torch.stack([LOGITS[1][0], LOGITS[0][1]]).softmax(-1))
    variant = MaxModelPredictor(rule="elementwise_max").combine(MEMBERS).combine(LOGITS)
    assert variant.tolist() == [[2.0, 3.0], [0.5, 1.0]]
