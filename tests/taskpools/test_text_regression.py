"""STS-B through a head of one number, beside the tasks of GLUE that have classes: on data in GLUE's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import pearsonr, spearmanr

from fusion_bench.cases import Case, Session, run_case
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.scores import pearson
from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool
from fusion_bench.regression import Settings, from_result, judge
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.steps import Steps
from fusion_bench.tracking.location import locate_store
from fusion_bench.tracking.records import read_records
from tests.helpers.tiny_roberta import POOL, TASKS, expert_folder, write_release
from tests.helpers.tiny_text import GLUE, write_glue, write_stsb

N = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = write_release(tmp_path_factory.mktemp("hub"))
    write_glue(root, list(GLUE), test=N)
    write_stsb(root, test=N)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(root))
        patch.setenv("HF_DATASETS_CACHE", str(root / "cache"))
        yield root


@pytest.fixture(scope="module")
def pool(root: Path) -> Any:
    return load_modelpool(POOL)


def taskpool(*tasks: str, **fields: Any) -> Any:
    named = {task: {"test_size": None, **fields} for task in tasks or TASKS}
    return load_taskpool(
        {"type": "text_classification", "name": "mine", "cards": "package://glue_tasks", "tasks": named}
    )


def test_scores_are_spearmans_of_what_transformers_says_one_by_one(root: Path, pool: Any) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    adapter = taskpool("stsb").bind(pool)["stsb"]
    merged = load_algorithm("simple_average").run(pool)
    folder = expert_folder(root, "stsb")
    own = AutoTokenizer.from_pretrained(folder)
    columns, truth = adapter.texts("test"), adapter.truth("test")
    values = []
    for weights, model in (("expert", pool.model("stsb")), ("merged", merged)):
        reference = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        if weights == "merged":
            reference.roberta.load_state_dict(merged.state_dict())
        with torch.inference_mode():
            said = [
                float(reference(**own(*both, return_tensors="pt")).logits)
                for both in zip(columns["sentence1"], columns["sentence2"], strict=True)
            ]
        found = evaluate(model, {"stsb": adapter})["stsb"]
        rank, linear = spearmanr(said, truth).statistic, pearsonr(said, truth).statistic
        assert found.value == pytest.approx(rank, abs=1e-9)
        assert found.extra["pearson"] == pytest.approx(linear, abs=1e-5)
        assert found.extra["pearson_spearman"] == pytest.approx((rank + linear) / 2, abs=1e-5)
        assert (found.metric, found.loss, found.confidence, len(found.score)) == ("spearman", None, None, N)
        values.append(found.value)
    assert values[0] != pytest.approx(values[1], abs=1e-3)


def test_a_head_of_another_kind_is_refused_when_bound(root: Path) -> None:
    base = str(root / "FacebookAI" / "roberta-base")
    experts = {
        "stsb": expert_folder(root, "cola"),
        "cola": expert_folder(root, "stsb"),
        "mnli": expert_folder(root, "rte"),
    }
    turned = load_modelpool({
        "type": "hf_sequence_classifier", "name": "turned", "base": base,
        "experts": {task: str(folder) for task, folder in experts.items()},
    })  # fmt: skip
    for task, said in (
        ("stsb", "scores 2 classes, the task is scored by spearman and wants one number"),
        ("cola", "gives one number an example, the task has 2"),
        ("mnli", "scores 2 classes, the task has 3"),
    ):
        with pytest.raises(FusionBenchError, match=f"head of '{task}' in pool 'turned' {said}"):
            taskpool(task).bind(turned)
    with pytest.raises(FusionBenchError, match=r"'rte'.*heads of pool 'turned'"):
        taskpool("rte").bind(turned)


def test_what_the_task_does_not_have(pool: Any) -> None:
    adapter = taskpool("stsb").bind(pool)["stsb"]
    assert (adapter.size("validation"), len(adapter.truth("validation"))) == (6, 6)
    with pytest.raises(FusionBenchError, match="no labels of classes: it is scored by spearman"):
        adapter.labels("test")
    with pytest.raises(FusionBenchError, match="no logits"):
        adapter.logits(pool.model("stsb"), next(iter(adapter.inputs("test"))))


def test_in_bfloat16_the_order_is_nearly_the_same(pool: Any) -> None:
    adapters = taskpool("stsb").bind(pool)
    exact, rounded = (
        evaluate(pool.model("stsb"), adapters, steps=Steps(wish))["stsb"] for wish in ("float32", "bfloat16")
    )
    assert exact.value != rounded.value
    assert exact.value == pytest.approx(rounded.value, abs=0.05)


def test_a_model_that_overflows_is_refused(pool: Any) -> None:
    adapter = taskpool("stsb").bind(pool)["stsb"]
    model = pool.build(pool.state_dict("stsb"))
    with torch.no_grad():
        model.encoder.layer[0].output.LayerNorm.bias.fill_(torch.inf)
    with pytest.raises(FusionBenchError, match=f"gives {N} of {N} examples of 'stsb' a number that is not finite"):
        evaluate(model, {"stsb": adapter})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(scope="module")
def session(root: Path, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("config")
    (folder / "taskpool").mkdir()
    tasks = {task: {"test_size": None} for task in TASKS}
    content = {"type": "text_classification", "cards": "package://glue_tasks", "tasks": tasks}
    (folder / "taskpool" / "eight.yaml").write_text(yaml.safe_dump(content))
    with Session(config_dir=folder, tracking_uri=store) as opened:
        yield opened


def test_cases_of_the_eight_tasks_from_search_to_gate(session: Session, store: str, pool: Any) -> None:
    results = {}
    for name, overrides in (
        ("simple_average", ()),
        ("task_arithmetic", ("++algorithm.search={scaling:[0.1,0.3]}",)),
        ("ties", ("algorithm.scaling=0.3",)),
        ("experts", ()),
    ):
        results[name] = run_case(Case(name, POOL, "eight", overrides), session)
        metrics = results[name].metrics
        assert results[name].scored_by == {"stsb": "spearman"}
        assert metrics["spearman/stsb"] == metrics["accuracy/stsb"]
        mean = np.mean([metrics[f"accuracy/{task}"] for task in TASKS])
        assert metrics["accuracy/mean"] == pytest.approx(mean)
        assert "loss/cola" in metrics
        assert "loss/stsb" not in metrics
        assert {name for name in metrics if name.startswith("matthews/")} == {"matthews/cola"}
    adapters = taskpool().bind(pool)
    for task, found in results["experts"].metrics.items():
        group, _, name = task.partition("/")
        if group == "accuracy" and name in TASKS:
            alone = evaluate(pool.model(name), adapters, tasks=[name])[name]
            assert found == pytest.approx(alone.value)
    records, notes = read_records(locate_store(store))
    assert not notes
    told = {}
    for record in records:
        cola, name = record.predictions()["cola"], record.result["case"]["algorithm"]
        told[name] = results[name].metrics["matthews/cola"]
        assert told[name] == pytest.approx(pearson(cola.prediction, cola.label), abs=1e-9)  # of two classes
    assert max(map(abs, told.values())) > 0.05
    record = next(r for r in records if r.result["case"]["algorithm"] == "ties")
    assert record.outcomes()["stsb"].mean() == pytest.approx(results["ties"].metrics["spearman/stsb"], abs=1e-6)
    baseline = from_result(results["ties"].to_dict(), date="2026-11-25")
    assert judge(baseline, baseline, Settings()).status == "as before"
    other = from_result({**results["simple_average"].to_dict(), "case": results["ties"].case}, date="2026-11-25")
    assert judge(baseline, other, Settings()).fails


def test_what_is_told_beside_the_accuracy_changes_no_hash_but_that_of_the_pool(pool: Any) -> None:
    with_it, without = taskpool("cola"), taskpool("cola", also=[])
    assert with_it.content_hash() != without.content_hash()
    hashes = [one.bind(pool)["cola"].data_hash("test") for one in (with_it, without)]
    assert hashes[0] == hashes[1]
    with pytest.raises(FusionBenchError, match="matthews is of classes, and the task is scored by spearman"):
        taskpool("stsb", also=["matthews"])


def test_an_ensemble_has_no_numbers_to_average(session: Session) -> None:
    with pytest.raises(FusionBenchError, match="'stsb' is scored by spearman"):
        run_case(Case("simple_ensemble", POOL, "eight"), session)
