"""What torch.save wrote, in either of its formats, alone or wrapped, and what is no state dict."""

import argparse
import contextlib
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.suffixes import PICKLES

STATE = {"b.weight": torch.randn(4, 6), "a": torch.randn(3).bfloat16(), "n": torch.tensor(3), "e": torch.zeros(0, 2)}
OPTIMISER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def saved(content, path, *, old=False):
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def check(checkpoint):
    assert set(checkpoint) == set(STATE)
    for name, tensor in STATE.items():
        assert checkpoint.specs[name] == (tuple(tensor.shape), tensor.dtype)
        assert torch.equal(checkpoint[name], tensor)


@pytest.mark.parametrize("suffix", PICKLES)
@pytest.mark.parametrize("old", [False, True])
def test_both_formats_are_read(suffix, old, tmp_path):
    found = open_checkpoint(saved(STATE, tmp_path / f"m{suffix}", old=old))
    check(found)
    assert ["held in memory whole" in note for note in found.notes] == [True] * old


def test_ties_are_seen_in_the_old_format_too(tmp_path):
    w = torch.randn(4, 6)
    assert open_checkpoint(saved({"w": w, "tied": w}, tmp_path / "m.bin", old=True)).aliases == {"tied": "w"}


@pytest.mark.parametrize(
    ("content", "read", "left"),
    [
        ({"state_dict": STATE}, "state_dict", []),
        ({"model": STATE, "optimizer": OPTIMISER, "epoch": 3}, "model", ["optimizer", "epoch"]),
        ({"epoch": 3, "state_dict": STATE, "callbacks": {}, "lr_schedulers": []}, "state_dict", ["callbacks"]),
        ({"module": STATE, "rng": torch.get_rng_state(), "loss": torch.tensor(0.5)}, "module", ["rng", "loss"]),
    ],
)
def test_the_one_state_dict_in_a_wrapper_is_read_and_that_is_said(content, read, left, tmp_path):
    path = saved(content, tmp_path / "m.ckpt")
    found = open_checkpoint(path)
    check(found)
    (note,) = found.notes
    assert note.startswith(f"{path}: the state dict under {read!r} is read")
    assert all(repr(key) in note for key in left)
    assert ("left out" in note) == (len(content) > 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": STATE, "ema": STATE}, r"several state dicts: 'model', 'ema'\n.*torch.load\('m.pt'\)\['model'\]"),
        ({"state_dict": STATE, "ema": STATE, "epoch": 1}, r"several state dicts: 'state_dict', 'ema'\n"),
        ({"head": STATE, "w": torch.ones(3)}, "several state dicts: 'head', 'w'"),  # may be halves of one model
        ({"w": torch.ones(3), "step": 3}, r"holds no state dict: 'w' \(Tensor\), 'step' \(int\)"),
        ({"a": {"model": STATE}}, r"holds no state dict: 'a' \(dict\)"),  # of one level only
        ({"optimizer": OPTIMISER}, "holds no state dict: 'optimizer'"),
        ({0: torch.ones(3)}, "holds no state dict: 0"),
        ([1, 2], "holds no state dict but a list"),
        (torch.ones(3), "holds no state dict but a Tensor"),
    ],
)
def test_what_would_be_a_guess_is_refused_with_its_keys(content, message, tmp_path):
    for old in (False, True):
        with pytest.raises(FusionBenchError, match=message):
            open_checkpoint(saved(content, tmp_path / "m.pt", old=old))


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_pickle_is_run(old, tmp_path):
    saved({"w": torch.ones(2), "x": Evil(tmp_path / "ran")}, tmp_path / "m.pt", old=old)
    with pytest.raises(FusionBenchError, match=r"(?s)an object of .*weights_only.*torch.save\(.*torch.load\('m.pt'"):
        open_checkpoint(tmp_path / "m.pt")
    assert not (tmp_path / "ran").exists()


def test_strangers_are_named(tmp_path):
    saved({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "m.pt")
    with pytest.raises(FusionBenchError, match=r"it holds an object of argparse.Namespace\n"):
        open_checkpoint(tmp_path / "m.pt")
    saved({"model": STATE, "x": np.ones(3)}, tmp_path / "m.pt")
    with pytest.raises(FusionBenchError, match="it holds an object of numpy"):
        open_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize("old", [False, True])
def test_damage_anywhere_is_one_clear_error_or_none(old, tmp_path):
    data = saved(STATE, tmp_path / "m.pt", old=old).read_bytes()
    damaged = tmp_path / "d.pt"
    for cut in [*range(0, len(data), max(1, len(data) // 60)), len(data) - 1]:
        damaged.write_bytes(data[:cut])
        with pytest.raises(FusionBenchError, match=r"cannot read .*d\.pt"):
            open_checkpoint(damaged)
    for place in range(0, len(data), max(1, len(data) // 120)):
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with contextlib.suppress(FusionBenchError):  # a flipped number is a number
            open_checkpoint(damaged)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"version https://git-lfs.github.com/spec/v1\n", pickle.dumps({"w": [1, 2]}, protocol=2)]
)
def test_files_of_something_else(content, tmp_path):
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(FusionBenchError, match=r"(damaged|corrupt).*\n  hint: fetch or save it again"):
        open_checkpoint(tmp_path / "m.bin")


def test_the_format_before_the_old_one(tmp_path):
    with tarfile.open(tmp_path / "m.bin", "w") as tar:  # torch 0.1
        tar.add(__file__, "pickle")
    with pytest.raises(FusionBenchError, match="its format is not read without running its code"):
        open_checkpoint(tmp_path / "m.bin")


def test_a_merge_of_wrapped_and_old_files_says_so_in_report_and_card(tmp_path):
    base = saved({"net": {"w": torch.zeros(3)}}, tmp_path / "base.ckpt")
    one = saved({"model": {"w": torch.ones(3)}, "epoch": 1}, tmp_path / "one.pt")
    two = saved({"w": torch.full((3,), 3.0)}, tmp_path / "two.bin", old=True)
    job = {"base": base, "experts": [one, two], "out": tmp_path / "m.safetensors"}
    plan = merge("simple_average", **job, dry_run=True)
    report = merge("simple_average", **job)
    assert open_checkpoint(tmp_path / "m.safetensors")["w"].tolist() == [2, 2, 2]
    assert plan.notes == report.notes
    assert report.notes == (
        f"{base}: the state dict under 'net' is read",
        f"{one}: the state dict under 'model' is read; 'epoch' left out",
        f"{two} is in the format of torch before 1.6: it is held in memory whole",
    )
    card = (tmp_path / "m.md").read_text()
    assert "under 'model' is read; 'epoch' left out" in card
    assert "held in memory whole" in card


def test_an_adapters_pickle_in_the_old_format_is_read_and_that_is_said(tmp_path):
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["up"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    halves = {"A": torch.ones(1, 3), "B": torch.full((2, 1), 2.0)}
    stored = {f"base_model.model.up.lora_{side}.weight": half for side, half in halves.items()}
    saved(stored, tmp_path / "adapter_model.bin", old=True)
    found = open_checkpoint(tmp_path, base=open_checkpoint({"up.weight": torch.ones(2, 3)}))
    assert found["up.weight"].tolist() == [[3.0] * 3] * 2
    assert "held in memory whole" in found.notes[0]
