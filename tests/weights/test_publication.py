"""Results appear whole or not at all: killed, out of space, on top of an input."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.weights.header import read_header
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.publication import published


@pytest.fixture
def inputs(tmp_path):
    state = {"w": torch.randn(300, 1000), "b": torch.randn(1000)}
    for name in ("base", "x", "y"):
        save_file(state, tmp_path / f"{name}.safetensors")
    return {"base": tmp_path / "base.safetensors", "experts": [tmp_path / "x.safetensors", tmp_path / "y.safetensors"]}


def litter(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


@pytest.mark.parametrize("out", ["base.safetensors", "x.safetensors", "link.safetensors", "."])
def test_an_output_that_is_an_input_is_refused(out, inputs, tmp_path):
    os.link(inputs["base"], tmp_path / "link.safetensors")
    before = inputs["base"].read_bytes()
    with pytest.raises(FusionBenchError, match="is or holds the input"):
        merge("simple_average", **inputs, out=tmp_path / out, overwrite=True)
    assert inputs["base"].read_bytes() == before


def test_what_is_there_is_replaced_only_when_asked(inputs, tmp_path):
    for out in (tmp_path / "file.safetensors", tmp_path / "folder"):
        merge("simple_average", **inputs, out=out)
        with pytest.raises(FusionBenchError, match="overwrite"):
            merge("simple_average", **inputs, out=out)
        merge("slerp", **inputs, out=out, overwrite=True)
        assert open_checkpoint(out)["w"].shape == (300, 1000)
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(FusionBenchError, match="is a folder"):
        merge("slerp", **inputs, out=tmp_path / "d.safetensors", overwrite=True)
    assert not litter(tmp_path)


def test_a_failure_leaves_what_was_there_and_nothing_else(inputs, tmp_path):
    out = tmp_path / "out"
    merge("simple_average", **inputs, out=out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fail():
        with published(out) as part:
            (part / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert not litter(tmp_path)


def test_two_that_write_to_one_name_are_told_apart(tmp_path):
    with (
        published(tmp_path / "out"),
        pytest.raises(FusionBenchError, match="another process"),
        published(tmp_path / "out"),
    ):
        pass


def test_too_little_space_is_seen_before_work_starts(inputs, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 10, 10))
    with pytest.raises(FusionBenchError, match=r"takes .* and .* has 0 kB free"):
        merge("simple_average", **inputs, out=tmp_path / "out")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("seen", [True, False])
def test_a_full_disk(seen, inputs, small_disk, monkeypatch):
    (small_disk / "filler").write_bytes(b"\0" * 1_500_000)
    if not seen:  # somebody else fills it between our look and our work
        from fusion_bench.merging import job

        monkeypatch.setattr(job, "check_target", lambda *_, **__: None)
    for out in ("out", "out.safetensors"):
        with pytest.raises(FusionBenchError, match="free" if seen else "No space left"):
            merge("simple_average", **inputs, out=small_disk / out)
        assert [p.name for p in small_disk.iterdir()] == ["filler"]


def test_a_folder_that_cannot_be_written(inputs, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(FusionBenchError, match="cannot be written"):
        merge("simple_average", **inputs, out=tmp_path / "locked" / "out")


SCRIPT = """
import sys
from fusion_bench.merging import merge
print("ready", flush=True)
sys.stdin.readline()
merge("ties", base=sys.argv[1], experts=sys.argv[2:4], out=sys.argv[4], overwrite=True, hashes=False)
print("done", flush=True)
"""


def test_killed_at_twenty_random_moments(tmp_path):
    state = {f"w{i}": torch.randn(1000, 1000) for i in range(8)}
    paths = []
    for i in range(3):
        save_file({n: t + i * 0.01 * torch.randn_like(t) for n, t in state.items()}, tmp_path / f"{i}.safetensors")
        paths.append(str(tmp_path / f"{i}.safetensors"))
    before = [Path(p).read_bytes() for p in paths]
    whole = tmp_path / "whole"
    began = time.perf_counter()
    merge("ties", base=paths[0], experts=paths[1:], out=whole, hashes=False)
    usual = time.perf_counter() - began
    expected = (whole / "model.safetensors").read_bytes()
    out, chance, killed = tmp_path / "out", random.Random(0), 0
    # five processes that are killed one after the other while they work, four rounds: starting one takes seconds
    for _ in range(4):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *paths, str(tmp_path / f"out{n}")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for n in range(5)
        ]
        for n, process in enumerate(running):
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
            time.sleep(chance.uniform(0, 1.2 * usual))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
            killed += 1
            out = tmp_path / f"out{n}"
            if out.exists():
                assert (out / "model.safetensors").read_bytes() == expected
    assert killed == 20
    assert [Path(p).read_bytes() for p in paths] == before
    for n in range(5):
        out = tmp_path / f"out{n}"
        merge("ties", base=paths[0], experts=paths[1:], out=out, overwrite=True, hashes=False)
        assert (out / "model.safetensors").read_bytes() == expected
        assert read_header(out / "model.safetensors").specs.keys() == state.keys()
    assert not litter(tmp_path)
