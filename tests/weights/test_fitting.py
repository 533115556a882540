"""Which models fit each other, and how misfits are named."""

import pytest
import torch

from fusion_bench.algorithms.simple_average import simple_average
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.fitting import check_compatible, fit

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


@pytest.mark.parametrize("kept", ["embed", "head"])
def test_tied_tensors_of_a_pickle_and_the_one_that_a_file_keeps_fit_each_other(kept):
    w, v = torch.arange(6.0).reshape(3, 2), torch.ones(3, 2)
    both, one = {"embed": w, "head": w}, {kept: v}
    merged = simple_average(both, [one])
    assert torch.equal(merged["embed"], v)
    assert merged["head"] is merged["embed"]
    back = simple_average(one, [both])
    assert list(back) == [kept]
    assert torch.equal(back[kept], w)


def test_untied_tensors_are_not_taken_for_tied():
    w = torch.ones(3, 2)
    with pytest.raises(FusionBenchError, match="'head'"):
        fit(StateCheckpoint({"embed": w}, label="e"), StateCheckpoint({"embed": w, "head": w.clone()}, label="base"))
