"""One list of suffixes serves what is read, written, copied and named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.merging.inputs import as_target
from fusion_bench.merging.names import checkpoint_names
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.suffixes import PICKLES, READ, SAFETENSORS, is_weights

OTHERS = [".gguf", ".h5", ".msgpack", ".onnx", ".ot"]


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_pickles_are_read_and_their_suffix_is_no_part_of_a_name(suffix, tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / f"a{suffix}")
    assert open_checkpoint(tmp_path / f"a{suffix}")["w"].tolist() == [1, 1]
    assert list(checkpoint_names([tmp_path / f"a{suffix}"])) == ["a"]


@pytest.mark.parametrize("suffix", [*PICKLES, *OTHERS])
def test_only_safetensors_are_written(suffix):
    with pytest.raises(FusionBenchError, match="no file of that kind"):
        as_target(f"merged{suffix}")
    assert as_target(f"merged{SAFETENSORS}") == Path(f"merged{SAFETENSORS}")


def test_weights_of_no_format_are_copied_from_beside_the_base(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    save_file({"w": torch.ones(2)}, base / "model.safetensors")
    (base / "config.json").write_text("{}")
    for suffix in [*READ[1:], *OTHERS, ".H5", ".txt"]:
        (base / f"other{suffix}").write_text("x")
    assert is_weights(base / "other.H5")
    merge("simple_average", base=base, experts=[{"w": torch.zeros(2)}], out=tmp_path / "out")
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"README.md", "config.json", "model.safetensors", "other.txt"}
