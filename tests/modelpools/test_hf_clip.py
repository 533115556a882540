"""The hub pool's code, on tiny random models saved by transformers in the hub's own format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer, CLIPVisionModel

    root = tmp_path_factory.mktemp("hub")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": 60, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**tower, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = CLIPModel(config).eval()
        base.save_pretrained(root / "base")
        for name in ("a", "b"):
            vision = CLIPVisionModel(config.vision_config)
            vision.save_pretrained(root / name)
    size = {"height": 16, "width": 16}
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size).save_pretrained(root / "base")
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *[chr(c) for c in range(97, 123)],
        *[f"{chr(c)}</w>" for c in range(97, 123)],
    ]
    (root / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt")).save_pretrained(root / "base")
    return root


def pool(folders: Path, **changes: str):
    experts = {"a": str(folders / "a"), "b": str(folders / "b"), **changes}
    return load_modelpool({"type": "hf_clip", "name": "tiny", "base": str(folders / "base"), "experts": experts})


def test_features_are_those_of_transformers(folders: Path) -> None:
    from transformers import CLIPModel

    images = torch.rand(2, 3, 16, 16)
    clip = CLIPModel.from_pretrained(folders / "base").eval()
    mine = pool(folders)
    with torch.inference_mode():
        vision = clip.visual_projection(clip.vision_model(pixel_values=images).pooler_output)
        assert torch.allclose(mine.model("base")(images), vision, atol=1e-6)
        assert not torch.allclose(mine.model("a")(images), vision, atol=1e-3)
        tokens = mine._tokenizer(["a b"], return_tensors="pt")
        text = clip.text_projection(clip.text_model(**tokens).pooler_output)
        assert torch.allclose(mine.text_features(["a b"]), torch.nn.functional.normalize(text, dim=-1), atol=1e-6)
    assert mine.logit_scale == pytest.approx(float(clip.logit_scale.exp()))
    assert (mine.image_size, len(mine.mean)) == (16, 3)


def test_only_the_vision_model_is_fused_and_a_merge_runs(folders: Path, tmp_path: Path) -> None:
    from fusion_bench.registry import load_algorithm

    mine = pool(folders)
    assert all(key.startswith("vision_model.") for key in mine.state_dict("a"))
    merged = load_algorithm("simple_average").run(mine)
    images = torch.rand(1, 3, 16, 16)
    mine.save(merged, tmp_path / "out")
    assert torch.equal(mine.load_saved(tmp_path / "out")(images), merged(images))
    from transformers import CLIPVisionModelWithProjection

    reloaded = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "out").eval()
    assert torch.allclose(reloaded(pixel_values=images).image_embeds, merged(images), atol=1e-6)


def test_a_repository_out_of_reach_says_what_would_fetch_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*arguments: object, **options: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(FusionBenchError, match="huggingface-cli download nobody/clip-c"):
        pool(folders, c="nobody/clip-c").state_dict("c")


def test_a_folder_without_weights(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"no model\.safetensors"):
        pool(folders, c=str(tmp_path)).state_dict("c")
