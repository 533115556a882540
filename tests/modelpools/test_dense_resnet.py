"""Dilated ResNets: against torchvision and timm, in the formats that checkpoints of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.dense_resnet import DilatedEncoder, Layers
from fusion_bench.registry import load_algorithm, load_modelpool
from tests.helpers.tiny_dense import ENCODER, TASKS, encoder, head, maps_of, write_models

IMAGES = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dense")
    write_models(root)
    return root


def pool(root: Path, **changes: Any) -> Any:
    experts = {"segmentation": str(root / "segmentation" / "last.ckpt"), "depth": str(root / "depth")}
    experts["normal"] = str(root / "normal")
    fields = {"type": "dense_resnet", "name": "tiny", "base": str(root / "base"), "experts": experts}
    return load_modelpool({**fields, "encoder": ENCODER, **changes})


def test_maps_are_torchvisions_own(folders: Path) -> None:
    mine = pool(folders)
    with torch.inference_mode():
        for seed, name in enumerate(("base", *TASKS)):
            found, expected = mine.model(name)(IMAGES), maps_of(encoder(seed), IMAGES)
            assert found.shape == (2, 2048, 5, 7)
            assert torch.equal(found, expected)
            if name != "base":
                own = head(mine.channels(name), seed)(expected)
                assert torch.equal(mine.head(name)(found), own)
                assert own.std() > 0.01
    assert [mine.channels(task) for task in TASKS] == [3, 1, 3]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_dilation_is_timms_output_stride_of_eight() -> None:
    """timm's own dilated ResNet-50, random, under the names that its repositories of the hub have."""
    import timm

    theirs = timm.create_model("resnet50", pretrained=False, output_stride=8, num_classes=0).eval()
    mine = DilatedEncoder(Layers(layers=(3, 4, 6, 3))).eval()
    state = theirs.state_dict()
    for name, tensor in mine.state_dict().items():
        tensor.copy_(state.pop(name))
    assert all(name.endswith("num_batches_tracked") for name in state)
    with torch.inference_mode():
        assert torch.allclose(mine(IMAGES), theirs.forward_features(IMAGES), atol=1e-4)


def test_a_merge_is_of_encoders_and_keeps_every_head(folders: Path) -> None:
    mine = pool(folders)
    merged = load_algorithm("simple_average").run(mine)
    states = [encoder(seed).state_dict() for seed in (1, 2, 3)]
    for name, tensor in merged.state_dict().items():
        mean = sum(state[name].double() for state in states) / 3
        assert torch.equal(tensor, mean.float()), name
    assert not any("fc" in name or "tracked" in name for name in merged.state_dict())


def test_a_variance_below_zero_counts_as_zero(folders: Path) -> None:
    mine = pool(folders)
    found = load_algorithm("task_arithmetic", scaling=5.0).run(mine)
    variances = [t for name, t in found.state_dict().items() if name.endswith("running_var")]
    assert min(float(v.min()) for v in variances) == 0.0
    assert found.bn1(found.conv1(IMAGES)).isfinite().all()  # of a root of less than nothing it would not be


def test_what_was_saved_is_loaded_again(folders: Path, tmp_path: Path) -> None:
    mine = pool(folders)
    merged = load_algorithm("simple_average").run(mine)
    mine.save(merged, tmp_path)
    again = mine.load_saved(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(IMAGES), merged(IMAGES))


def test_another_encoder_than_the_weights_are_of(folders: Path) -> None:
    deeper = {**ENCODER, "layers": [1, 2, 1, 1]}
    with pytest.raises(FusionBenchError, match=r"no tensor 'layer2\.1\.conv1\.weight'"):
        pool(folders, encoder=deeper).model("base")
    state = {**encoder(0).state_dict(), "layer3.5.conv1.weight": torch.zeros(1)}
    strange = folders / "strange"
    strange.mkdir(exist_ok=True)
    save_file(state, strange / "model.safetensors")
    with pytest.raises(FusionBenchError, match=r"'layer3.5.conv1.weight' that an encoder \(1, 1, 1, 1\) has not"):
        pool(folders, base=str(strange)).model("base")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "resnet18"}, "encoder"),
        ({"encoder": {"layers": [1, 1]}}, "layers"),
        ({"rates": []}, "rates"),
        ({"mean": [0.5]}, "mean"),
    ],
)
def test_options_that_cannot_be(folders: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        pool(folders, **change)


def test_heads_that_are_not_there_or_of_other_dilations(folders: Path, tmp_path: Path) -> None:
    mine = pool(folders)
    with pytest.raises(FusionBenchError, match="depht"):
        mine.head("depht")
    with pytest.raises(FusionBenchError, match="in a DeepLab head with the dilations 12, 24"):
        pool(folders, rates=[12, 24]).head("depth")
    bare = load_file(folders / "depth" / "model.safetensors")
    save_file({k: v for k, v in bare.items() if k.startswith("encoder.")}, tmp_path / "model.safetensors")
    headless = pool(folders, experts={"depth": str(tmp_path)})
    assert headless.model("depth") is not None
    with pytest.raises(FusionBenchError, match=r"no head: no tensor 'decoders.depth.4.weight'"):
        headless.head("depth")


def test_an_expert_of_another_width_is_refused_with_its_tensor(folders: Path, tmp_path: Path) -> None:
    state = load_file(folders / "depth" / "model.safetensors")
    state["encoder.layer1.0.conv1.weight"] = state["encoder.layer1.0.conv1.weight"][:2].clone()
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(FusionBenchError, match=r"layer1.0.conv1.weight"):
        pool(folders, experts={"depth": str(tmp_path)}).state_dict("depth")
