"""Task vectors: exact differences, fixed order, rounding."""

import numpy as np
import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector, mean, merge_tensors, ordered_sum


def test_differences_of_float32_are_exact():
    base, expert = torch.tensor([1.0]), torch.tensor([1e-8])
    delta = TaskVectors.of({"w": base}, [{"w": expert}]).delta("0", "w")
    assert float(delta) == float(expert) - 1.0  # in float32 this is -1


def test_flattened_order_is_that_of_names_whatever_the_dicts_order():
    base = {"b": torch.zeros(2), "a": torch.zeros(3), "n": torch.tensor(0), "c": torch.zeros(())}
    vectors = TaskVectors.of(base, [dict(base)])
    assert vectors.names == ("a", "b", "c")
    assert vectors.offsets == {"a": 0, "b": 3, "c": 5}
    assert vectors.size == 6


def test_transforms_run_in_order_with_expert_and_name():
    seen = []

    def note(expert, name, delta):
        seen.append((expert, name))
        return delta + 1

    vectors = TaskVectors.of({"w": torch.zeros(1)}, {"e": {"w": torch.ones(1)}})
    assert float(vectors.map(note).map(lambda e, n, d: 10 * d).delta("e", "w")) == 20
    assert seen == [("e", "w")]
    assert float(vectors.delta("e", "w")) == 1  # map makes another object


def test_merge_refuses_a_rule_that_changes_shapes():
    vectors = TaskVectors.of({"w": torch.zeros(2)}, [{"w": torch.ones(2)}])
    with pytest.raises(FusionBenchError, match=r"'w' of shape \(2,\) into \(\)"):
        vectors.merge(lambda name, deltas: deltas[0].sum())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adding_to_half_precision_rounds_the_float32_result(dtype):
    base = {"w": torch.tensor([1.0, 3.0], dtype=dtype)}
    step = {"w": torch.tensor([0.0071, -1.13], dtype=torch.float64)}
    exact = add_task_vector({"w": base["w"].float()}, step, scaling=0.7)["w"]
    merged = add_task_vector(base, step, scaling=0.7)["w"]
    assert merged.dtype == dtype
    assert torch.equal(merged, exact.to(dtype))


def test_entries_that_do_not_move_keep_their_bits():
    base = {"w": torch.tensor([-0.0, 1.0])}
    moved = add_task_vector(base, {"w": torch.zeros(2).double()}, scaling=1.0)["w"]
    assert np.signbit(moved.numpy()).tolist() == [True, False]


def test_overflow_is_an_error():
    base = {"w": torch.tensor([6e4], dtype=torch.float16)}
    with pytest.raises(FusionBenchError, match="merged model: tensor 'w'"):
        add_task_vector(base, {"w": torch.tensor([6e4]).double()}, scaling=1.0)


def test_rules_see_experts_in_the_order_of_names():
    base = {"w": torch.zeros(1)}
    experts = {"b": {"w": torch.tensor([2.0])}, "a": {"w": torch.tensor([1.0])}}
    assert float(merge_tensors(base, experts, lambda name, t: t[0])["w"]) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rule_that_returns_its_input_does_not_alias_it(dtype):
    state = {"w": torch.zeros(2, dtype=dtype), "n": torch.tensor(1)}
    merged = merge_tensors(state, [state], lambda name, t: t[0])
    merged["w"].fill_(5)
    merged["n"].fill_(5)
    assert state["w"].tolist() == [0, 0]
    assert int(state["n"]) == 1


def test_sums_leave_their_terms_alone():
    terms = [torch.ones(2), torch.ones(2)]
    assert ordered_sum(terms).tolist() == [2, 2]
    assert mean(terms).tolist() == [1, 1]
    assert terms[0].tolist() == [1, 1]
