"""The reference rows: base, each expert on its own task, multi-task model."""

import pytest
import torch

from fusion_bench.algorithms.experts import Experts
from fusion_bench.algorithms.multitask import Multitask
from fusion_bench.algorithms.pretrained import Pretrained
from fusion_bench.errors import FusionBenchError


def weights_of(module):
    return module.get_buffer("linear_weight")


def test_pretrained_is_the_base(make_models, make_pool):
    base, experts = make_models()
    assert torch.equal(weights_of(Pretrained().run(make_pool(base, experts))), base["linear.weight"])


def test_each_expert_answers_for_its_task(make_models, make_pool):
    base, experts = make_models()
    routed = Experts().run(make_pool(base, experts))
    for name, state in experts.items():
        assert torch.equal(weights_of(routed.for_task(name)), state["linear.weight"])


def test_multitask_is_the_pools_or_an_error(make_models, make_pool):
    base, experts = make_models()
    model = Multitask().run(make_pool(base, experts, experts["svhn"]))
    assert torch.equal(weights_of(model), experts["svhn"]["linear.weight"])
    with pytest.raises(FusionBenchError, match="'toy' has no multi-task model"):
        Multitask().run(make_pool(base, experts))
