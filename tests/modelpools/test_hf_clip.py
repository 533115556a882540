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


def test_a_repository_that_is_not_here_says_what_fetches_it(folders: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"nobody/clip-c \(c\) is not here(.|\n)*fusion_bench pools fetch tiny"):
        pool(folders, c="nobody/clip-c").state_dict("c")


def test_the_text_hash_is_of_the_base_and_its_tokenizer(folders: Path, tmp_path: Path) -> None:
    import shutil

    def hashed(base: Path) -> str:
        options = {"base": str(base), "experts": {"a": str(folders / "a")}}
        return str(load_modelpool({"type": "hf_clip", "name": "tiny", **options}).text_hash())

    shutil.copytree(folders / "base", tmp_path / "base")
    before = pool(folders).text_hash()
    assert before == pool(folders, a=str(folders / "b")).text_hash() == hashed(tmp_path / "base")
    assert pool(folders).content_hash() != pool(folders, a=str(folders / "b")).content_hash()
    (tokenizer,) = (tmp_path / "base").glob("tokenizer.json")
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert hashed(tmp_path / "base") != before


def test_a_folder_without_weights(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="holds no weights"):
        pool(folders, c=str(tmp_path)).state_dict("c")


def test_layouts_and_types_are_one_model(folders: Path, tmp_path: Path) -> None:
    """A whole CLIP, a lone vision model as transformers 4 and 5 save it, shards, half precision, a pickle."""
    from safetensors.torch import load_file, save_file

    mine = pool(folders)
    expected = {name: mine.state_dict("a")[name] for name in mine.state_dict("a")}
    bare = {name.removeprefix("vision_model."): tensor for name, tensor in expected.items()}
    prefixed = {f"vision_model.{name}": tensor for name, tensor in bare.items()}
    prefixed["vision_model.embeddings.position_ids"] = torch.arange(5)[None]  # as transformers 4 saved it
    names = sorted(prefixed)
    for folder in ("five", "four", "shards", "half", "pickle"):
        (tmp_path / folder).mkdir()
    save_file(bare, tmp_path / "five" / "model.safetensors")
    save_file(prefixed, tmp_path / "four" / "model.safetensors")
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in shards.items():
        save_file({name: prefixed[name] for name in own}, tmp_path / "shards" / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({name: tensor.half() for name, tensor in bare.items()}, tmp_path / "half" / "model.safetensors")
    torch.save(prefixed, tmp_path / "pickle" / "pytorch_model.bin")
    assert load_file(tmp_path / "five" / "model.safetensors")
    for folder in ("five", "four", "shards", "half", "pickle"):
        state = pool(folders, c=str(tmp_path / folder)).state_dict("c")
        assert sorted(state) == sorted(expected), folder
        for name in expected:
            wanted = expected[name].half() if folder == "half" else expected[name]
            assert torch.equal(state[name], wanted), (folder, name)


def test_an_adapter_is_opened_on_the_base(folders: Path, tmp_path: Path) -> None:
    """As peft saves it, and merged as peft merges it; one whose keys match nothing is refused."""
    peft = pytest.importorskip("peft")
    from safetensors.torch import load_file, save_file
    from transformers import CLIPVisionModel

    from fusion_bench.registry import load_algorithm

    mine = pool(folders)
    own = {name: mine.state_dict("base")[name] for name in mine.state_dict("base")}
    vision = CLIPVisionModel.from_pretrained(folders / "a")
    keys = {name: name.removeprefix("vision_model.") for name in own}
    plain = "embeddings.patch_embedding.weight" in vision.state_dict()
    vision.load_state_dict({keys[name] if plain else name: tensor for name, tensor in own.items()}, strict=False)
    adapted = peft.get_peft_model(vision, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for name, tensor in adapted.named_parameters():
            if "lora_B" in name:
                tensor.normal_()
    adapted.save_pretrained(tmp_path / "lora")
    merged = adapted.merge_and_unload().state_dict()
    merged = {f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in merged.items()}
    with_adapter = pool(folders, c=str(tmp_path / "lora"))
    state = with_adapter.state_dict("c")
    changed = 0
    for name in own:
        assert torch.allclose(state[name].float(), merged[name], atol=1e-5), name
        changed += not torch.equal(state[name].float(), own[name])
    assert changed == 4  # queries and values of two layers
    images = torch.rand(1, 3, 16, 16)
    assert load_algorithm("simple_average").run(with_adapter)(images).isfinite().all()
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    save_file(
        {n.replace("encoder", "decoder"): t for n, t in tensors.items()},
        tmp_path / "lora" / "adapter_model.safetensors",
    )
    with pytest.raises(FusionBenchError, match="decoder"):
        pool(folders, c=str(tmp_path / "lora")).state_dict("c")


def test_weights_are_read_when_they_are_asked_for(folders: Path) -> None:
    from fusion_bench.weights.file_checkpoint import FileCheckpoint

    mine = pool(folders)
    state = mine.state_dict("a")
    assert isinstance(state, FileCheckpoint)
    assert state.traffic.bytes == 0
    mine.model("a")
    assert state.traffic.bytes == 4 * sum(spec.numel for spec in state.specs.values())


def copied(folders: Path, target: Path) -> Path:
    import shutil

    shutil.copytree(folders / "base", target)
    return target


def test_a_base_that_lacks_something_is_refused(folders: Path, tmp_path: Path) -> None:
    """transformers would make up what is not there: a tokenizer without words, a layer at random, default sizes."""
    from safetensors.torch import load_file, save_file

    def base(name: str):  # type: ignore[no-untyped-def]
        source = {"type": "hf_clip", "name": "tiny", "base": str(tmp_path / name), "experts": {"a": str(folders / "a")}}
        return load_modelpool(source)

    wordless = copied(folders, tmp_path / "wordless")
    for file in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
        (wordless / file).unlink(missing_ok=True)
    with pytest.raises(FusionBenchError, match="has no tokenizer"):
        base("wordless").text_features(["a cat"])
    layerless = copied(folders, tmp_path / "layerless") / "model.safetensors"
    tensors = {n: t for n, t in load_file(layerless).items() if "vision_model.encoder.layers.1" not in n}
    save_file(tensors, layerless, metadata={"format": "pt"})
    broken = base("layerless")
    with pytest.raises(FusionBenchError, match=r"has no tensor '.*layers\.1"):
        broken.build(broken.state_dict("base"))
    (copied(folders, tmp_path / "formless") / "config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"has no config\.json"):
        base("formless").text_features(["a cat"])
    (copied(folders, tmp_path / "blind") / "preprocessor_config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"has no preprocessor_config\.json"):
        _ = base("blind").image_size


def test_what_stands_beside_the_weights_counts_in_the_hash(folders: Path, tmp_path: Path) -> None:
    here = copied(folders, tmp_path / "here")
    source = {"type": "hf_clip", "name": "tiny", "base": str(here), "experts": {"a": str(folders / "a")}}
    before = load_modelpool(source).content_hash()
    assert load_modelpool(source).content_hash() == before
    settings = json.loads((here / "preprocessor_config.json").read_text())
    (here / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [0.1, 0.1, 0.1]}))
    assert load_modelpool(source).content_hash() != before
