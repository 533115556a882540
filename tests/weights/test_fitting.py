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


TABLES = {"embed": torch.randn(6, 2), "head": torch.randn(6, 2), "w": torch.randn(3, 2)}


def refusal(policy="error", **changes):
    expert = StateCheckpoint({**TABLES, **changes}, label="e")
    with pytest.raises(FusionBenchError) as caught:
        fit(expert, StateCheckpoint(TABLES, label="b"), on_mismatch=policy)
    return caught.value


@pytest.mark.parametrize("policy", ["error", "pad"])
def test_of_a_larger_vocabulary_it_is_said_what_can_be_done(policy):
    larger = {"embed": torch.randn(9, 2), "head": torch.randn(9, 2)}
    found = refusal(policy, **larger)
    assert "'embed' has shape (9, 2), b has (6, 2)" in found.message
    for part in ("larger by 3 rows", "'tokens' keeps the rows", "'pad' does not cover", "on_mismatch='base'"):
        assert part in found.hint
    base, expert = StateCheckpoint(TABLES, label="b"), StateCheckpoint({**TABLES, **larger}, label="e")
    fitted, notes = fit(expert, base, on_mismatch="base")
    assert torch.equal(fitted["embed"], TABLES["embed"])  # what the hint says of that policy
    assert len(notes) == 2
    cut = StateCheckpoint({**TABLES, **{name: tensor[:6] for name, tensor in larger.items()}}, label="e")
    assert fit(cut, base) == (cut, [])


def test_hints_are_of_policies_that_help():
    smaller, larger, other = torch.randn(4, 2), torch.randn(9, 2), torch.randn(6, 3)
    assert "on_mismatch='pad' gives" in refusal(embed=smaller).hint
    assert "'pad' does not cover" in refusal(embed=smaller, head=larger).hint
    for changes in ({"embed": smaller, "head": other}, {"embed": larger, "more": larger.clone()}, {"w": other}):
        assert "one architecture" in refusal(**changes).hint  # padding or cutting would not make it fit
