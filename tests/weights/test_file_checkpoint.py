"""Safetensors files read in place."""

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.spans import Span

STATE = {"a": torch.arange(10.0), "b": torch.arange(4.0).bfloat16(), "c": torch.arange(5.0)}


def test_spans_of_several_tensors_are_read_one_after_the_other(tmp_path):
    save_file(STATE, tmp_path / "m.safetensors")
    checkpoint = open_checkpoint(tmp_path / "m.safetensors")
    assert checkpoint.gather([Span("c", 1, 3), Span("a", 8, 10)]).tolist() == [1, 2, 8, 9]
    row = torch.empty(2, dtype=torch.float64)
    checkpoint.fill([Span("b", 2, 4)], row)
    assert row.tolist() == [2, 3]
    assert checkpoint.traffic.bytes == 4 * 4 + 2 * 2
    assert (checkpoint.place("a"), checkpoint.shard("a")) == (str(tmp_path / "m.safetensors"), 0)


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    save_file({"w": torch.ones(1000)}, tmp_path / "m.safetensors")
    checkpoint = open_checkpoint(tmp_path / "m.safetensors")
    with (tmp_path / "m.safetensors").open("rb+") as file:
        file.truncate(1000)
    with pytest.raises(FusionBenchError, match="became shorter"):
        checkpoint["w"]
