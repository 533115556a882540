"""Which state dicts fit each other, and how misfits are named."""

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.state_dict import check_compatible, check_finite, check_models, named_experts

BASE = {"visual.stem.weight": torch.zeros(2, 3), "visual.count": torch.tensor(1)}


def fits(**changes):
    check_compatible(BASE, {**BASE, **changes}, name="expert 'mnist'")


def test_equal_names_and_shapes_fit_whatever_the_precision():
    fits(**{"visual.stem.weight": torch.ones(2, 3).half()})


def test_mis_shaped_tensor_names_tensor_model_and_both_shapes():
    with pytest.raises(FusionBenchError) as caught:
        fits(**{"visual.stem.weight": torch.zeros(3, 2)})
    for part in ("expert 'mnist'", "'visual.stem.weight'", "(3, 2)", "(2, 3)"):
        assert part in str(caught.value)


def test_missing_tensor_suggests_the_nearest_extra_one():
    other = {"visual.stem.wieght": torch.zeros(2, 3), "visual.count": torch.tensor(1)}
    with pytest.raises(FusionBenchError) as caught:
        check_compatible(BASE, other, name="mnist.safetensors")
    text = str(caught.value)
    assert "'visual.stem.weight' (2, 3) is missing (nearest: 'visual.stem.wieght')" in text
    assert "'visual.stem.wieght' (2, 3) is not in base (nearest: 'visual.stem.weight')" in text


def test_extra_tensor_is_an_error_unless_allowed():
    other = {**BASE, "head": torch.zeros(1)}
    with pytest.raises(FusionBenchError, match="'head'"):
        check_compatible(BASE, other, name="x")
    check_compatible(BASE, other, name="x", allow_extra=True)


def test_integers_where_the_base_has_floats():
    with pytest.raises(FusionBenchError, match=r"torch\.int64"):
        fits(**{"visual.stem.weight": torch.zeros(2, 3, dtype=torch.int64)})


def test_many_problems_are_counted_not_listed():
    base = {f"w{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(FusionBenchError, match="and 6 more"):
        check_compatible(base, {}, name="x")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_numbers_are_located(bad):
    tensor = torch.zeros(2, 3)
    tensor[1, 2] = bad
    with pytest.raises(FusionBenchError, match=r"'w' has 1 non-finite of 6 entries, the first at \[1, 2\]"):
        check_finite({"ok": torch.zeros(1), "w": tensor}, name="expert 'mnist'")


def test_infinities_that_cancel_in_a_sum_are_found():
    with pytest.raises(FusionBenchError, match="2 non-finite"):
        check_finite({"w": torch.tensor([float("inf"), -float("inf")])}, name="x")


def test_finite_numbers_whose_sum_overflows_are_fine():
    check_finite({"w": torch.full((4,), 6e4, dtype=torch.float16), "empty": torch.zeros(0)}, name="x")


def test_complex_tensors_are_refused():
    with pytest.raises(FusionBenchError, match="complex"):
        check_finite({"w": torch.zeros(1, dtype=torch.complex64)}, name="x")


def test_check_models_looks_at_the_base_too():
    with pytest.raises(FusionBenchError, match="base: tensor 'w'"):
        check_models({"w": torch.tensor([float("nan")])}, {"a": {"w": torch.zeros(1)}})


def test_names_are_sorted_and_positions_sort_like_numbers():
    assert list(named_experts({"b": BASE, "a": BASE})) == ["a", "b"]
    names = list(named_experts([BASE] * 11))
    assert names[0] == "00"
    assert names[10] == "10"
    assert names == sorted(names)


@pytest.mark.parametrize("experts", [[], {}])
def test_no_experts(experts):
    with pytest.raises(FusionBenchError, match="no experts"):
        named_experts(experts)


def test_a_single_state_dict_is_not_a_collection_of_experts():
    with pytest.raises(FusionBenchError, match="not a state dict"):
        named_experts(BASE)
