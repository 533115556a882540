"""open_clip's pool, on tiny random models in the layouts of its hub repositories and of task-vector checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import read_pool
from fusion_bench.modelpools.open_clip import CONFIG
from fusion_bench.registry import load_algorithm, load_modelpool

MODEL: dict[str, Any] = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PICTURES = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "shortest"}


def made(seed: int) -> Any:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vision, text = CLIPVisionCfg(**MODEL["vision_cfg"]), CLIPTextCfg(**MODEL["text_cfg"])
        return CLIP(MODEL["embed_dim"], vision, text, quick_gelu=True).eval()


class Encoder(torch.nn.Module):
    """As the code of the task-vector papers keeps a tower: a whole model inside, without its text tower."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        del clip.transformer
        self.model = clip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("open_clip")
    for name in ("base", "a", "b", "c"):
        (root / name).mkdir()
    save_file(made(0).state_dict(), root / "base" / "open_clip_model.safetensors")
    (root / "base" / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PICTURES}))
    torch.save(Encoder(made(1)).state_dict(), root / "a" / "finetuned.pt")
    torch.save({"state_dict": made(2).visual.state_dict(prefix="visual.")}, root / "b" / "finetuned.pt")
    torch.save(Encoder(made(3)), root / "c" / "finetuned.pt")
    return root


def pool(root: Path, base: Path | None = None, **experts: str) -> Any:
    named = experts or {"a": str(root / "a" / "finetuned.pt"), "b": str(root / "b")}
    return load_modelpool({"type": "open_clip", "name": "tiny", "base": str(base or root / "base"), "experts": named})


def test_features_are_those_of_open_clip(root: Path) -> None:
    mine, images = pool(root), torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        for seed, name in enumerate(("base", "a", "b")):
            assert torch.equal(mine.model(name)(images), made(seed).encode_image(images)), name
        from open_clip import get_tokenizer

        tokens = get_tokenizer("ViT-B-32", context_length=12)(["a photo of a cat", "a dog"])
        text = made(0).encode_text(tokens, normalize=True)
        assert torch.allclose(mine.text_features(["a photo of a cat", "a dog"]), text, atol=1e-6)
    assert mine.logit_scale == pytest.approx(float(made(0).logit_scale.detach().exp()))
    assert (mine.image_size, mine.mean, mine.std) == (16, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert not mine.sizing.warped


def test_a_merge_is_saved_and_read_back(root: Path, tmp_path: Path) -> None:
    mine = pool(root)
    merged, images = load_algorithm("simple_average").run(mine), torch.rand(1, 3, 16, 16)
    for name, tensor in merged.state_dict().items():
        parts = [made(seed).state_dict()[name].double() for seed in (1, 2)]
        assert torch.allclose(tensor.double(), sum(parts) / 2, atol=1e-7), name
    mine.save(merged, tmp_path)
    again = pool(root, base=root / "base", out=str(tmp_path))
    with torch.inference_mode():
        assert torch.equal(again.model("out")(images), merged(images))
        assert torch.equal(mine.load_saved(tmp_path)(images), merged(images))


def test_pickled_modules_are_refused(root: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"finetuned\.pt"):
        pool(root, c=str(root / "c" / "finetuned.pt")).state_dict("c")


def test_what_cannot_be_such_a_pool(root: Path, tmp_path: Path) -> None:
    def base(content: Any, folder: str) -> Path:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "open_clip_model.safetensors").symlink_to(root / "base" / "open_clip_model.safetensors")
        if content is not None:
            (tmp_path / folder / CONFIG).write_text(json.dumps(content))
        return tmp_path / folder

    with pytest.raises(FusionBenchError, match=f"has no {CONFIG}"):
        pool(root, base(None, "none")).model("base")
    with pytest.raises(FusionBenchError, match="cannot be read: KeyError"):
        pool(root, base({"model_cfg": {}}, "empty")).model("base")
    elsewhere = {**MODEL, "text_cfg": {"hf_model_name": "roberta-base"}}
    with pytest.raises(FusionBenchError, match="text_cfg from another repository, 'roberta-base'"):
        pool(root, base({"model_cfg": elsewhere, "preprocess_cfg": PICTURES}, "elsewhere")).model("base")
    longest = {"model_cfg": MODEL, "preprocess_cfg": {**PICTURES, "resize_mode": "longest"}}
    with pytest.raises(FusionBenchError, match="resizes by 'longest'"):
        _ = pool(root, base(longest, "longest")).sizing
    deeper = {**MODEL, "vision_cfg": {**MODEL["vision_cfg"], "layers": 3}}
    with pytest.raises(FusionBenchError, match=r"visual\.transformer\.resblocks\.2"):
        pool(root, base({"model_cfg": deeper, "preprocess_cfg": PICTURES}, "deeper")).model("base")
    save_file({"text.w": torch.ones(2)}, tmp_path / "text.safetensors")
    with pytest.raises(FusionBenchError, match="has nothing of what pool 'tiny' fuses"):
        pool(root, a=str(tmp_path / "text.safetensors")).state_dict("a")


def test_weights_of_another_library_beside_the_bases(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in timm's repositories of the hub; towers in folders of one repository, as TALL masks' are published."""
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    base, towers = tmp_path / "timm" / "clip", tmp_path / "you" / "towers"
    shutil.copytree(root / "base", base)
    save_file({"patch_embed.proj.weight": torch.ones(2)}, base / "model.safetensors")
    torch.save({"patch_embed.proj.weight": torch.ones(2)}, base / "pytorch_model.bin")
    for name in ("a", "b"):
        shutil.copytree(root / name, towers / "single_task" / f"{name}Val")
    experts = {name: {"id": "you/towers", "subfolder": f"single_task/{name}Val"} for name in ("a", "b")}
    fields = {"type": "open_clip", "name": "hub", "experts": experts}
    meant = {"id": "timm/clip", "weights": "open_clip_model.safetensors"}
    mine, images = load_modelpool({**fields, "base": meant}), torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        for seed, name in enumerate(("base", "a", "b")):
            assert torch.equal(mine.model(name)(images), made(seed).encode_image(images)), name
    with pytest.raises(FusionBenchError, match="has nothing of what pool 'hub' fuses"):
        load_modelpool({**fields, "base": "timm/clip"}).model("base")
    with pytest.raises(FusionBenchError, match=r"it has no open_clip\.safetensors"):
        load_modelpool({**fields, "base": {**meant, "weights": "open_clip.safetensors"}}).model("base")


@pytest.mark.parametrize("name", ["open_clip_b32_ta8", "open_clip_b16_tall14", "open_clip_l14_tall14"])
def test_presets_name_a_tower_for_every_task_of_their_pool(name: str) -> None:
    pool = read_pool("modelpool", name)
    tasks = read_pool("taskpool", pool.config["taskpools"][0]).config["tasks"]
    towers = {role: source.subfolder or "" for role, source in pool.sources.items() if role != "base"}
    assert set(towers) == set(tasks)
    assert len({towers[task] for task in tasks}) == len(tasks)
    assert all(folder.startswith("single_task/") and folder.endswith("Val") for folder in towers.values())
