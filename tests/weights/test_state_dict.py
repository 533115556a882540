"""Which numbers of a state dict are refused, and what experts are called."""

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.state_dict import check_finite, named_experts


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


def test_names_are_sorted_and_positions_sort_like_numbers():
    assert list(named_experts({"b": {}, "a": {}})) == ["a", "b"]
    names = list(named_experts([{}] * 11))
    assert names[0] == "00"
    assert names[10] == "10"
    assert names == sorted(names)


@pytest.mark.parametrize("experts", [[], {}])
def test_no_experts(experts):
    with pytest.raises(FusionBenchError, match="no experts"):
        named_experts(experts)


def test_a_single_state_dict_is_not_a_collection_of_experts():
    with pytest.raises(FusionBenchError, match="not a state dict"):
        named_experts({"w": torch.zeros(1)})
