"""Which files are wanted, and which lack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source
from fusion_bench.hub.files import lack, of_split, wanted

MODEL, DATA = Source("a/b"), Source("a/b", kind="dataset")
SHARDS = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pytorch_model.bin", "model.safetensors"], ["model.safetensors"]),
        (["pytorch_model.bin", "training_args.bin", "optimizer.pt"], ["pytorch_model.bin"]),
        ([*SHARDS, INDEX, "consolidated.safetensors"], [*SHARDS, INDEX]),
        (["model.safetensors", "pytorch_model.bin.index.json"], ["model.safetensors"]),
        (["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"],
         ["adapter_config.json", "adapter_model.safetensors"]),
        (["adapter_config.json", "linearized_adapter_model.safetensors", "optimizer.bin", "other.safetensors"],
         ["adapter_config.json", "linearized_adapter_model.safetensors"]),
        (["adapter_config.json", "linearized_adapter_model.safetensors", "adapter_model.safetensors"],
         ["adapter_config.json", "adapter_model.safetensors", "linearized_adapter_model.safetensors"]),
        (["finetuned.pt", "notes.md"], ["finetuned.pt"]),
        (["model.safetensors", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "onnx/config.json"],
         ["model.safetensors"]),
        (["model.safetensors", "modules.json", "1_Pooling/config.json", "vocab.txt", "chat_template.jinja"],
         ["1_Pooling/config.json", "chat_template.jinja", "model.safetensors", "modules.json", "vocab.txt"]),
    ],
)  # fmt: skip
def test_of_a_model(names: list[str], expected: list[str]) -> None:
    assert wanted(names, MODEL) == sorted(expected)


def test_of_a_subfolder() -> None:
    names = ["model.safetensors", "inner/model.safetensors", "inner/config.json"]
    assert wanted(names, Source("a/b", subfolder="inner")) == ["inner/config.json", "inner/model.safetensors"]


def test_of_a_repository_with_the_weights_of_several_libraries(tmp_path: Path) -> None:
    names = ["config.json", "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors", "w[1].pt"]
    beside = ["config.json", "open_clip_config.json"]
    assert wanted(names, MODEL) == sorted([*beside, "model.safetensors"])
    for meant in ("open_clip_model.safetensors", "w[1].pt"):
        assert wanted(names, Source("a/b", weights=meant)) == sorted([*beside, meant])
    assert wanted(names, Source("a/b", weights="w1.pt")) == beside
    for name in names:
        (tmp_path / name).write_text("{}")
    assert lack(tmp_path, "model", weights="open_clip_model.safetensors") is None
    assert lack(tmp_path, "model", weights="other.safetensors") == "it has no other.safetensors"


def test_of_a_data_set() -> None:
    names = ["README.md", "data.py", "x/train-00000-of-00001.parquet", "y-test.parquet", "z.csv"]
    assert wanted(names, DATA) == ["README.md", "x/train-00000-of-00001.parquet", "y-test.parquet"]
    assert wanted(names, Source("a/b", kind="dataset", subset="y")) == ["README.md", "y-test.parquet"]
    configs = [{"config_name": "y", "data_files": "x/*"}]
    assert wanted(names, Source("a/b", kind="dataset", subset="y"), configs) == ["README.md", names[2]]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_shards_that_an_index_lists(tmp_path: Path) -> None:
    index = {"weight_map": {"u": SHARDS[0], "v": SHARDS[1]}}
    fill(tmp_path, "config.json", SHARDS[0])
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert lack(tmp_path, "model") == f"1 of 2 shards that {INDEX} lists are not there: {SHARDS[1]}"
    fill(tmp_path, SHARDS[1])
    assert lack(tmp_path, "model") is None
    (tmp_path / INDEX).write_text("{")
    assert lack(tmp_path, "model") == "model.safetensors.index.json cannot be read"


def test_shards_that_their_names_count(tmp_path: Path) -> None:
    fill(tmp_path, SHARDS[1])
    assert lack(tmp_path, "model") == f"{SHARDS[0]} is not there"
    fill(tmp_path, SHARDS[0])
    assert lack(tmp_path, "model") is None
    data = fill(tmp_path / "data", "test-00001-of-00002.parquet")
    assert lack(data, "dataset") == "test-00000-of-00002.parquet is not there"


def test_a_link_into_nothing_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    assert lack(tmp_path, "model") == "it has no weights"


def test_the_files_of_a_split(tmp_path: Path) -> None:
    fill(tmp_path, "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet", "latest/a.parquet")
    assert [path.name for path in of_split(tmp_path, "test")] == ["test-00000-of-00001.parquet"]
    assert of_split(tmp_path, "contest") == []
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: latest/*\n---\n# Card\n"
    )
    assert [path.name for path in of_split(tmp_path, "test")] == ["a.parquet"]
    assert of_split(tmp_path, "train") == []


def test_the_files_of_a_split_of_a_subset(tmp_path: Path) -> None:
    fill(tmp_path, "digits/test/0000.parquet", "digits/train/0000.parquet", "scenes/test/0000.parquet")
    assert of_split(tmp_path, "test", "digits") == [tmp_path / "digits/test/0000.parquet"]


def test_several_subsets_of_which_none_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "en/test-0.parquet", "fr/test-0.parquet")
    entry = "- config_name: {0}\n  data_files:\n  - split: test\n    path: {0}/*\n"
    card = "---\nconfigs:\n" + entry.format("en") + entry.format("fr")
    (tmp_path / "README.md").write_text(f"{card}---\n")
    with pytest.raises(FusionBenchError, match=r"has 2 subsets, and none is named\n.*one of en, fr"):
        of_split(tmp_path, "test")
    assert of_split(tmp_path, "test", "fr") == [tmp_path / "fr/test-0.parquet"]
    (tmp_path / "README.md").write_text(f"{card}  default: true\n---\n")
    assert of_split(tmp_path, "test") == [tmp_path / "fr/test-0.parquet"]
    (tmp_path / "README.md").write_text(f"{card}- data_files:\n  - split: test\n    path: en/*\n---\n")
    assert of_split(tmp_path, "test") == [tmp_path / "en/test-0.parquet"]
