"""The pool of RoBERTa's eight experts, at its ids and in its files, against transformers' pipeline of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool
from tests.helpers.tiny_roberta import LONGEST, OUTPUTS, POOL, TASKS, expert_folder, write_release

FIRST = ["the cat sat on a mat", "it ran", "is it not a very good red dog ?", "very bad " * LONGEST]
SECOND = ["good", "a very very bad cat", "it sat", "a dog"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = write_release(tmp_path_factory.mktemp("hub"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(root))
        yield root


@pytest.fixture(scope="module")
def mine(root: Path) -> Any:
    return load_modelpool(POOL)


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "pytorch_model.bin", weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seconds", [None, SECOND], ids=["single", "pair"])
def test_an_expert_answers_as_transformers_pipeline(
    root: Path, mine: Any, task: str, seconds: list[str] | None
) -> None:
    from transformers import pipeline

    theirs = pipeline("text-classification", model=str(expert_folder(root, task)), device="cpu")
    options = {"function_to_apply": "none", "top_k": None, "truncation": True, "max_length": LONGEST}
    wanted = []
    for text, pair in zip(FIRST, seconds or [None] * len(FIRST), strict=True):
        said = theirs({"text": text, **({"text_pair": pair} if pair else {})}, **options)
        wanted.append([one["score"] for one in sorted(said, key=lambda one: int(one["label"].removeprefix("LABEL_")))])
    tokens = mine.tokens(FIRST, seconds)
    assert tokens["input_ids"].shape == (4, LONGEST)  # the last text is cut there, and every position is used
    with torch.inference_mode():
        found = mine.head(task)(mine.model(task), tokens)
    assert found.shape == (4, OUTPUTS[task]) == (4, mine.head_size(task))
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-5)
    assert (found.std(dim=0) > 1e-3).all()  # the texts are told apart


def test_what_is_fused_is_the_encoder(root: Path, mine: Any) -> None:
    base = stored(root / "FacebookAI" / "roberta-base")
    left = {"position_ids", "token_type_ids", "pooler"}
    names = {
        name.removeprefix("roberta.")
        for name in base
        if name.startswith("roberta.") and not left.intersection(name.split("."))
    }
    assert "embeddings.word_embeddings.weight" in names
    assert set(mine.state_dict("base")) == names
    for task in TASKS:
        expert = stored(expert_folder(root, task))
        assert set(mine.state_dict(task)) == names
        assert all(torch.equal(mine.state_dict(task)[name], expert[f"roberta.{name}"]) for name in names)


def test_an_average_is_the_mean_in_float64(root: Path, mine: Any) -> None:
    merged = load_algorithm("simple_average").run(mine).state_dict()
    experts = [stored(expert_folder(root, task)) for task in TASKS]
    for name in mine.state_dict("base"):
        mean = torch.stack([expert[f"roberta.{name}"].double() for expert in experts]).mean(dim=0)
        assert torch.equal(merged[name], mean.float()), name


def test_a_base_without_safetensors_is_the_same(root: Path, mine: Any, tmp_path: Path) -> None:
    for path in (root / "FacebookAI" / "roberta-base").iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    sources = {task: str(expert_folder(root, task)) for task in TASKS}
    fields = {"type": "hf_sequence_classifier", "name": "mine", "base": str(tmp_path), "experts": sources}
    other = load_modelpool(fields)
    for name, tensor in mine.state_dict("base").items():
        assert torch.equal(other.state_dict("base")[name], tensor), name
    assert other.content_hash() != mine.content_hash()  # it is of the files


def test_an_expert_whose_pickle_holds_code_is_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vanillaOVO" / "cola"
    folder.mkdir(parents=True)
    for path in expert_folder(root, "cola").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "pytorch_model.bin").write_bytes((folder / "training_args.bin").read_bytes())
    base = str(root / "FacebookAI" / "roberta-base")
    fields = {"type": "hf_sequence_classifier", "name": "mine", "base": base, "experts": {"cola": str(folder)}}
    with pytest.raises(FusionBenchError, match=r"pytorch_model\.bin: it holds"):
        load_modelpool(fields).state_dict("cola")
