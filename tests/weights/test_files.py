"""Checkpoint files: exact round trips, damage, and nothing half-written."""

import json
import os

import pytest
import torch
from safetensors import safe_open

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights import files
from fusion_bench.weights.files import read_state_dict, write_state_dict

STATE = {
    "visual.w": torch.randn(4, 6, generator=torch.Generator().manual_seed(0)),
    "visual.n": torch.tensor(7),
    "text.mask": torch.tensor([True, False]),
    "text.empty": torch.zeros(0, 3),
}


@pytest.fixture
def path(tmp_path):
    return write_state_dict(tmp_path / "sub" / "m.safetensors", STATE)


def test_round_trip_is_exact(path):
    back = read_state_dict(path)
    assert list(back) == sorted(STATE)
    for name, tensor in STATE.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_half_precision_on_disk_is_float32_in_memory(tmp_path):
    path = write_state_dict(tmp_path / "m.safetensors", STATE, dtype=torch.float16, metadata={"format": "pt"})
    with safe_open(path, "pt") as file:
        assert file.get_tensor("visual.w").dtype == torch.float16
        assert file.get_tensor("visual.n").dtype == torch.int64
        assert file.metadata() == {"format": "pt"}
    back = read_state_dict(path)
    assert back["visual.w"].dtype == torch.float32
    assert torch.equal(back["visual.w"], STATE["visual.w"].half().float())
    assert read_state_dict(path, dtype=None)["visual.w"].dtype == torch.float16


def test_prefix_reads_a_part(path):
    assert list(read_state_dict(path, prefix="visual.")) == ["visual.n", "visual.w"]
    with pytest.raises(FusionBenchError, match=r"no tensor named vison\.\*"):
        read_state_dict(path, prefix="vison.")


def test_strided_and_shared_tensors_are_written_densely(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    path = write_state_dict(tmp_path / "m.safetensors", {"a": shared, "b": shared.T, "c": shared[0]})
    back = read_state_dict(path)
    assert torch.equal(back["b"], shared.T)
    assert torch.equal(back["c"], shared[0])


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_file(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    with pytest.raises(FusionBenchError) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert "fetch it again" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"\xff" * 64,
        (2).to_bytes(8, "little") + b"{]",
        len(h := json.dumps({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode()).to_bytes(
            8, "little"
        )
        + h
        + b"1234",
    ],
)
def test_what_is_not_safetensors(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(FusionBenchError, match="cannot read"):
        read_state_dict(path)


def test_no_such_file_suggests_the_nearest(path):
    with pytest.raises(FusionBenchError) as caught:
        read_state_dict(path.with_name("n.safetensors"))
    assert "m.safetensors" in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(FusionBenchError, match="No space left"):
        write_state_dict(path, {"w": torch.zeros(1)})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_state_dict(tmp_path / "m.safetensors", STATE)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(FusionBenchError, match="cannot write"):
        write_state_dict(blocked / "m.safetensors", STATE)


def test_overflow_of_the_stored_type_is_an_error(tmp_path):
    with pytest.raises(FusionBenchError, match=r"'w' does not fit torch\.float16: its largest magnitude is 1e\+06"):
        write_state_dict(tmp_path / "m.safetensors", {"w": torch.tensor([1e6])}, dtype=torch.float16)


def test_the_file_is_readable_by_others(path):
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
