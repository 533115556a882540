"""The embedded pool: what it hands out, and what it says of bad checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool
from fusion_bench.weights import read_state_dict, write_state_dict
from fusion_bench.zoo.package import write_manifest


@pytest.fixture
def folder(toy_assets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_assets / "models_toy", tmp_path / "pool"))


def load(folder: Path):
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(folder)})


def altered(folder: Path, change) -> None:
    path = folder / "models" / "circles.safetensors"
    state = read_state_dict(path)
    change(state)
    write_state_dict(path, state, dtype=torch.float16)
    write_manifest(folder)


def test_models_and_their_weights(folder: Path) -> None:
    pool = load(folder)
    assert pool.expert_names == ("circles", "stripes")
    assert pool.names == ("base", "circles", "stripes", "multitask")
    state = pool.state_dict("circles")
    assert set(state) == set(pool.state_dict("base"))
    assert all(key.startswith("visual.") and value.dtype == torch.float32 for key, value in state.items())
    image = torch.rand(2, 3, 32, 32)
    assert pool.model("circles")(image).shape == (2, 8)
    assert torch.equal(pool.build(state)(image), pool.model("circles")(image))
    assert pool.model("circles") is pool.model("circles")
    assert pool.owns(pool.model("stripes")) == "stripes"
    assert not torch.equal(pool.model("base")(image), pool.model("circles")(image))


def test_text_features_are_unit_and_differ(folder: Path) -> None:
    features = load(folder).text_features(["a picture of red", "a picture of blue"])
    assert torch.allclose(features.norm(dim=1), torch.ones(2))
    assert not torch.allclose(features[0], features[1])


def test_a_missing_tensor(folder: Path) -> None:
    altered(folder, lambda state: state.pop("visual.head.fc.weight"))
    with pytest.raises(FusionBenchError, match=r"circles.*visual\.head\.fc\.weight.*missing"):
        load(folder).state_dict("circles")


def test_an_extra_tensor(folder: Path) -> None:
    altered(folder, lambda state: state.update({"visual.head.fc.weigth": torch.zeros(2)}))
    with pytest.raises(
        FusionBenchError, match=r"visual\.head\.fc\.weigth.*not in.*nearest: 'visual\.head\.fc\.weight'"
    ):
        load(folder).state_dict("circles")


def test_a_misshaped_tensor(folder: Path) -> None:
    altered(folder, lambda state: state.update({"visual.head.fc.bias": torch.zeros(3)}))
    with pytest.raises(FusionBenchError, match=r"visual\.head\.fc\.bias.*\(3,\).*\(8,\)"):
        load(folder).state_dict("circles")


def test_not_a_number(folder: Path) -> None:
    altered(folder, lambda state: state["visual.head.fc.bias"].fill_(float("nan")))
    with pytest.raises(FusionBenchError, match="non-finite"):
        load(folder).state_dict("circles")


def test_an_unknown_model_names_the_nearest(folder: Path) -> None:
    with pytest.raises(FusionBenchError, match="did you mean 'circles'"):
        load(folder).state_dict("circle")


def test_wrong_options() -> None:
    with pytest.raises(FusionBenchError, match="did you mean 'path'"):
        load_modelpool({"type": "embedded_clip", "name": "x", "pth": "y"})
    with pytest.raises(FusionBenchError, match="no manifest"):
        load_modelpool({"type": "embedded_clip", "name": "x", "path": "nowhere"})
