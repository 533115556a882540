"""Tasks seen through the experts' heads, on data in GLUE's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fusion_bench.cases import Case, Session, run_case
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from tests.helpers.tiny_text import GLUE, gpt2_config, gpt2_tokenizer, random_model, t5_config, t5_tokenizer, write_glue

TASKS = ("cola", "mnli", "mrpc")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from transformers import GPT2ForSequenceClassification, GPT2Model

    root = tmp_path_factory.mktemp("hub")
    write_glue(root, TASKS)
    random_model(GPT2Model, gpt2_config(), seed=0).save_pretrained(root / "base")
    for seed, task in enumerate(TASKS):
        config = gpt2_config(num_labels=len(GLUE[task][1]), pad_token_id=0)
        random_model(GPT2ForSequenceClassification, config, seed=seed + 1).save_pretrained(root / task)
    gpt2_tokenizer().save_pretrained(root / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(root))
        patch.setenv("HF_DATASETS_CACHE", str(root / "cache"))
        yield root


def modelpool(root: Path, **experts: str) -> Any:
    named = {**{task: str(root / task) for task in TASKS}, **experts}
    return load_modelpool(
        {"type": "hf_sequence_classifier", "name": "tiny", "base": str(root / "base"), "experts": named}
    )


def taskpool(*tasks: str, **fields: Any) -> Any:
    named = {task: {"test_size": None, **fields} for task in tasks or TASKS}
    return load_taskpool(
        {"type": "text_classification", "name": "mine", "cards": "package://glue_tasks", "tasks": named}
    )


def test_predictions_are_those_of_transformers_one_by_one(root: Path) -> None:
    from transformers import GPT2ForSequenceClassification

    pool, own = modelpool(root), gpt2_tokenizer()
    merged = load_algorithm("simple_average").run(pool)
    adapters = taskpool().bind(pool)
    for name, model in (("mnli", pool.model("mnli")), (None, merged)):
        found = evaluate(model, adapters, tasks=["mnli"])["mnli"]
        reference = GPT2ForSequenceClassification.from_pretrained(root / "mnli").eval()
        if name is None:
            reference.transformer.load_state_dict(merged.state_dict())
        texts = adapters["mnli"].texts("test")
        with torch.inference_mode():
            wanted = torch.cat([
                reference(**own(p, h, return_tensors="pt")).logits
                for p, h in zip(texts["premise"], texts["hypothesis"], strict=True)
            ])  # fmt: skip
        assert found.prediction.tolist() == wanted.argmax(dim=1).tolist()
        loss = torch.nn.functional.cross_entropy(wanted.double(), adapters["mnli"].labels("test"), reduction="none")
        assert torch.allclose(torch.from_numpy(found.loss), loss, atol=1e-4)
        assert len(set(found.prediction)) > 1


@pytest.fixture(scope="module")
def session(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("config")
    experts = {task: str(root / task) for task in TASKS}
    pools = {"type": "hf_sequence_classifier", "base": str(root / "base"), "experts": experts, "taskpools": ["heads"]}
    tasks = {task: {"test_size": None} for task in TASKS}
    for group, name, content in (
        ("modelpool", "tiny", pools),
        ("taskpool", "heads", {"type": "text_classification", "cards": "package://glue_tasks", "tasks": tasks}),
    ):
        (folder / group).mkdir()
        (folder / group / f"{name}.yaml").write_text(yaml.safe_dump(content))
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with Session(config_dir=folder, tracking_uri=store) as opened:
        yield opened


@pytest.mark.parametrize(
    ("algorithm", "overrides"),
    [
        ("simple_average", ()),
        ("task_arithmetic", ("++algorithm.search={scaling:[0.2,0.5]}",)),
        ("ties", ("algorithm.scaling=0.3",)),
        ("simple_ensemble", ()),
        ("experts", ()),
        ("pretrained", ()),
    ],
)
def test_cases_run(session: Session, root: Path, algorithm: str, overrides: tuple[str, ...]) -> None:
    result = run_case(Case(algorithm, "tiny", "heads", overrides), session).to_dict()
    pool = modelpool(root)
    adapters = taskpool().bind(pool)
    if algorithm in ("experts", "pretrained"):
        for task, adapter in adapters.items():
            model = pool.model(task if algorithm == "experts" else "base")
            logits = torch.cat([adapter.logits(model, batch) for batch in adapter.inputs("test")]).detach()
            right = (logits.argmax(dim=1) == adapter.labels("test")).double().mean()
            assert result["metrics"][f"accuracy/{task}"] == pytest.approx(float(right))
    assert set(result["tasks"]) == set(TASKS)


def test_heads_that_do_not_fit_the_task(root: Path, tmp_path: Path) -> None:
    from transformers import GPT2ForSequenceClassification

    def score(pool: Any, task: str) -> None:
        adapter = taskpool(task).bind(pool)[task]
        adapter.logits(pool.model("base"), next(iter(adapter.inputs("test"))))

    with pytest.raises(FusionBenchError, match="head of 'cola' in pool 'tiny' scores 3 classes, the task has 2"):
        score(modelpool(root, cola=str(root / "mnli")), "cola")
    names = dict(enumerate(reversed(GLUE["mrpc"][1])))
    config = gpt2_config(id2label=names, label2id={name: index for index, name in names.items()})
    random_model(GPT2ForSequenceClassification, config, seed=9).save_pretrained(tmp_path / "turned")
    with pytest.raises(
        FusionBenchError, match="class 0 of 'mrpc' is 'not_equivalent', which the head of 'tiny' has at"
    ):
        score(modelpool(root, mrpc=str(tmp_path / "turned")), "mrpc")
    lone = load_modelpool({
        "type": "hf_sequence_classifier", "name": "lone", "base": str(root / "base"),
        "experts": {"cola": str(root / "cola")},
    })  # fmt: skip
    with pytest.raises(FusionBenchError, match=r"'mrpc'.*heads of pool 'lone'"):
        score(lone, "mrpc")


def test_a_pool_without_heads(root: Path, tmp_path: Path) -> None:
    from transformers import T5ForConditionalGeneration

    for name in ("base", "cola"):
        random_model(T5ForConditionalGeneration, t5_config(), seed=0).save_pretrained(tmp_path / name)
    t5_tokenizer().save_pretrained(tmp_path / "base")
    writes = load_modelpool({
        "type": "hf_seq2seq", "name": "t5", "base": str(tmp_path / "base"), "experts": {"cola": str(tmp_path / "cola")},
    })  # fmt: skip
    with pytest.raises(FusionBenchError, match=r"through a head of the task; those of model pool 't5' write answers"):
        taskpool().bind(writes)
    words = load_taskpool({"type": "text_generation", "cards": "package://glue_tasks", "tasks": ["cola"]})
    with pytest.raises(FusionBenchError, match="answers in words; those of model pool 'tiny' score classes"):
        words.bind(modelpool(root))
