"""Tensors that are carried over from the base although the experts have others."""

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.merging import merge
from fusion_bench.weights.carried import carried_note, differing
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.plan import make_plan

BASE = {
    "w": torch.zeros(3),
    "steps": torch.tensor(3),
    "ids": torch.arange(4),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, dtype=torch.int64),
}


def names(rule, *experts, base=BASE):
    opened = {f"e{i}": StateCheckpoint(expert, label=f"e{i}") for i, expert in enumerate(experts)}
    as_it_is = rule(lambda scan: lambda piece: piece.base)
    return differing(make_plan(StateCheckpoint(base, label="base"), opened, as_it_is))


def test_those_that_differ_in_any_expert_are_named_in_the_bases_order(rule):
    assert names(rule, BASE, {**BASE, "w": torch.ones(3)}) == []
    one, other = {**BASE, "mask": torch.tensor([True, True])}, {**BASE, "steps": torch.tensor(4)}
    assert names(rule, BASE, one, other) == ["steps", "mask"]


@pytest.mark.parametrize(
    ("own", "theirs", "differ"),
    [
        (torch.tensor([3]), torch.tensor([3], dtype=torch.int8), False),
        (torch.tensor([300]), torch.tensor([44], dtype=torch.uint8), True),  # 300 modulo 256
        (torch.tensor([-1]), torch.tensor([2**64 - 1], dtype=torch.uint64), True),
        (torch.tensor([2**53]), torch.tensor([2**53 + 1], dtype=torch.uint64), True),  # one number in float64
        (torch.tensor([1, 0]), torch.tensor([True, False]), False),
    ],
)
def test_other_types_are_compared_by_value(own, theirs, differ, rule):
    assert names(rule, {"n": theirs}, base={"n": own}) == (["n"] if differ else [])


def test_long_tensors_are_compared_to_their_end_in_pieces(rule):
    base = {"n": torch.zeros(5_000_000, dtype=torch.int8)}
    plan = make_plan(
        StateCheckpoint(base, label="base"),
        {"e": StateCheckpoint({"n": torch.cat([base["n"][1:], torch.ones(1, dtype=torch.int8)])}, label="e")},
        rule(lambda scan: lambda piece: piece.base),
        memory=64_000_000,
    )
    assert differing(plan) == ["n"]


def test_a_note_counts_them_and_names_the_first():
    (note,) = carried_note([f"n{i}" for i in range(1200)])
    assert note == (
        "1,200 tensors that are not floating differ between the models; the base's are kept: "
        "'n0', 'n1', 'n2', 'n3', 'n4' and 1,195 more"
    )
    assert carried_note([]) == []


def test_report_and_card_say_it_and_the_result_has_the_bases(tmp_path):
    for name, count in (("base", 3), ("x", 3), ("y", 5)):
        save_file({"w": torch.zeros(3), "bn.count": torch.tensor(count)}, tmp_path / f"{name}.safetensors")
    inputs = {"base": tmp_path / "base.safetensors", "out": tmp_path / "m.safetensors", "overwrite": True}
    report = merge("simple_average", experts=[tmp_path / "x.safetensors"], **inputs)
    assert report.notes == ()
    assert "## Notes" not in (tmp_path / "m.md").read_text()
    report = merge("simple_average", experts=[tmp_path / "x.safetensors", tmp_path / "y.safetensors"], **inputs)
    assert report.notes == ("1 tensor that is not floating differs between the models; the base's is kept: 'bn.count'",)
    assert f"- {report.notes[0]}" in (tmp_path / "m.md").read_text()
    assert any("bn.count" in line for line in report.lines())
