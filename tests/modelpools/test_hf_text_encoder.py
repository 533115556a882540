"""The pool of sentence encoders, on a tiny random BERT saved by transformers and adapters saved by peft."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e good bad thing of kind".split()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    peft = pytest.importorskip("peft")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    root = tmp_path_factory.mktemp("encoders")
    (root / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(root / "base")
        BertTokenizerFast(str(root / "vocab.txt")).save_pretrained(root / "base")
        for name in ("moods", "kinds"):
            settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["query", "value"])
            adapted = peft.get_peft_model(BertModel.from_pretrained(root / "base"), settings)
            for key, tensor in adapted.named_parameters():
                if "lora_B" in key:
                    tensor.data.normal_()
            adapted.save_pretrained(root / name)
            adapted.merge_and_unload().save_pretrained(root / f"{name}_merged")
    return root


def pool(folders: Path, suffix: str = "", **changes: object):  # type: ignore[no-untyped-def]
    experts = {name: str(folders / f"{name}{suffix}") for name in ("moods", "kinds")}
    return load_modelpool(
        {"type": "hf_text_encoder", "name": "tiny", "base": str(folders / "base"), "experts": experts, **changes}
    )


def test_features_are_the_mean_over_tokens(folders: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["a b c good", "bad", "a kind of thing of a kind"]
    model = AutoModel.from_pretrained(folders / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(folders / "base")
    mine = pool(folders)
    with torch.inference_mode():
        found = mine.model("base")(mine.tokens(texts))
        for row, text in zip(found, texts, strict=True):
            hidden = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
            torch.testing.assert_close(row, hidden.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.text_features(texts), F.normalize(found, dim=-1))


def test_adapters_are_what_peft_merges(folders: Path) -> None:
    adapted, merged = pool(folders), pool(folders, "_merged")
    for name in ("moods", "kinds"):
        one, other = adapted.state_dict(name), merged.state_dict(name)
        assert sorted(one) == sorted(other)
        for key in one:
            torch.testing.assert_close(one[key].float(), other[key], rtol=1e-5, atol=1e-6)
    tokens = adapted.tokens(["a good thing"])
    for algorithm in ("simple_average", "task_arithmetic", "ties"):
        results = [load_algorithm(algorithm).run(each)(tokens) for each in (adapted, merged)]
        torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


def test_the_pooler_is_not_fused_and_a_saved_model_opens_again(folders: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    mine = pool(folders)
    assert not any("pooler" in name for name in mine.state_dict("base"))
    fused = load_algorithm("simple_average").run(mine)
    mine.save(fused, tmp_path / "out")
    tokens = mine.tokens(["a good thing", "bad"])
    torch.testing.assert_close(mine.load_saved(tmp_path / "out")(tokens), fused(tokens), rtol=0, atol=0)
    loaded = AutoModel.from_pretrained(tmp_path / "out").eval()
    hidden = loaded(**mine.tokens(["bad"])).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(hidden, fused(mine.tokens(["bad"])), rtol=1e-4, atol=1e-5)


def test_long_texts_are_cut(folders: Path) -> None:
    assert pool(folders, max_tokens=6).tokens(["a b c d e " * 20])["input_ids"].shape == (1, 6)
    with pytest.raises(FusionBenchError, match="max_tokens"):
        pool(folders, max_tokens=2)
    with pytest.raises(FusionBenchError, match="logit_scale"):
        pool(folders, logit_scale=0)


@pytest.fixture
def tasks(tmp_path: Path):  # type: ignore[no-untyped-def]
    from datasets import ClassLabel, Dataset, Features, Value

    folder = tmp_path / "moods"
    folder.mkdir()
    features = Features({"text": Value("string"), "label": ClassLabel(names=["good", "bad"])})
    texts = [" ".join(WORDS[5 + (i + j) % 10] for j in range(1 + i % 7)) for i in range(50)]
    data = Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(50)]}, features=features)
    data.to_parquet(folder / "test.parquet")
    fields = {"data": str(folder), "classes": ["good", "bad"], "templates": ["a {} thing", "{}"]}
    return load_taskpool({"type": "zero_shot_text_classification", "tasks": {"moods": fields}, "batch_size": 16})


def test_grouping_by_length_changes_no_score(folders: Path, tasks) -> None:  # type: ignore[no-untyped-def]
    mine = pool(folders)
    adapter = tasks.bind(mine)["moods"]
    model = mine.model("moods")
    with torch.inference_mode():
        grouped = torch.cat([adapter.logits(model, batch) for batch in adapter.inputs("test")])
        texts = adapter._split("test").texts()
        alone = torch.cat([F.normalize(model(mine.tokens([text])), dim=-1) for text in texts]) @ adapter.head.T
    torch.testing.assert_close(grouped, 20.0 * alone, rtol=1e-4, atol=1e-4)
    assert [batch["input_ids"].shape[0] for batch in adapter.inputs("test")] == [16, 16, 16, 2]


def test_texts_and_pictures_are_kept_apart(folders: Path, tasks) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FusionBenchError, match="names; those of model pool 'clip_mini' compare images"):
        tasks.bind(load_modelpool("clip_mini"))
    with pytest.raises(FusionBenchError, match="class names; those of model pool 'tiny' compare texts"):
        load_taskpool("mini8").bind(pool(folders))


def test_files_are_what_the_yaml_was_written_for(folders: Path) -> None:
    from fusion_bench.datasets.manifest import file_sha256

    right = file_sha256(folders / "base" / "model.safetensors")
    base = {"id": str(folders / "base"), "sha256": {"model.safetensors": right}}
    assert pool(folders, base=base).state_dict("base")
    base["sha256"] = {"model.safetensors": "0" * 64}
    with pytest.raises(FusionBenchError, match="another version than the pool was made with"):
        pool(folders, base=base).state_dict("base")
    base["sha256"] = {"elsewhere.safetensors": right}
    with pytest.raises(FusionBenchError, match=r"has no elsewhere\.safetensors"):
        pool(folders, base=base).state_dict("base")


def test_a_base_that_lacks_something_is_refused(folders: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folders / "base", tmp_path / "wordless")
    for file in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "wordless" / file).unlink(missing_ok=True)
    with pytest.raises(FusionBenchError, match="has no tokenizer"):
        pool(folders, base=str(tmp_path / "wordless")).tokens(["a good thing"])
    shutil.copytree(folders / "base", tmp_path / "layerless")
    path = tmp_path / "layerless" / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if "layer.1" not in n}, path, metadata={"format": "pt"})
    broken = pool(folders, base=str(tmp_path / "layerless"), experts={"moods": str(tmp_path / "layerless")})
    with pytest.raises(FusionBenchError, match=r"has no tensor '.*layer\.1"):
        broken.model("base")


def test_other_encoders_than_bert(folders: Path, tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=len(WORDS), dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DistilBertModel(config).eval()
    model.save_pretrained(tmp_path / "distil")
    for file in (folders / "base").iterdir():
        if "token" in file.name or file.name == "vocab.txt":
            (tmp_path / "distil" / file.name).write_bytes(file.read_bytes())
    mine = pool(folders, base=str(tmp_path / "distil"), experts={"moods": str(tmp_path / "distil")})
    tokens = mine.tokens(["a good thing"])
    hidden = model(**tokens).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(mine.model("base")(tokens), hidden, rtol=1e-4, atol=1e-5)
