"""Numbers that a model writes, scored by their order: against SciPy on what transformers generates, and whole cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import pearsonr, spearmanr

import fusion_bench
from fusion_bench.analysis.paths import loss_path
from fusion_bench.analysis.transfer import cross_task
from fusion_bench.cases import Case, Session, run_case
from fusion_bench.cli import main
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.regression import Settings, from_result, judge
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.text.numbers import NO_NUMBER, number
from fusion_bench.tracking.location import locate_store
from fusion_bench.tracking.records import read_records
from tests.helpers.tiny_text import random_model, t5_config, t5_tokenizer, write_glue, write_stsb

N = 40  # test examples of `write_stsb`


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from transformers import T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("numbers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(folder))
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        write_glue(folder, ["rte"])
        write_stsb(folder)
        for seed, name in enumerate(("base", "rte", "stsb")):
            random_model(T5ForConditionalGeneration, t5_config(), seed=seed).save_pretrained(folder / name)
        t5_tokenizer().save_pretrained(folder / "base")
        yield folder


def fields_of_pool(root: Path) -> dict[str, Any]:
    experts = {task: str(root / task) for task in ("rte", "stsb")}
    return {"type": "hf_seq2seq", "name": "tiny", "base": str(root / "base"), "experts": experts}


def said(ids: torch.Tensor) -> str:
    """A number in the place of the tiny tokenizer's words; none for some."""
    total = int(ids.sum())
    return "it" if total % 5 == 0 else f" {total % 50 / 10}"


@pytest.fixture
def pool(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from fusion_bench.modelpools.hf_seq2seq import HfSeq2Seq

    # what is generated stands; only how it is spelled is another, for the tiny vocabulary has no figures
    monkeypatch.setattr(HfSeq2Seq, "words", lambda self, ids: [said(row) for row in ids])
    return load_modelpool(fields_of_pool(root))


def taskpool(**options: Any) -> Any:
    tasks = {task: {"test_size": None} for task in ("rte", "stsb")}
    fields = {"type": "text_generation", "name": "mine", "cards": "package://glue_tasks", "by": "generation"}
    return load_taskpool({**fields, "tasks": tasks, **options})


def test_a_text_that_is_a_number() -> None:
    texts = ("3.8", " 4 ", "-1e0", "five", "", "3.8.1", "nan", "inf")
    assert [number(text) for text in texts] == [3.8, 4.0, -1.0, None, None, None, None, None]


def test_scores_are_spearmans_of_what_is_generated(pool: Any) -> None:
    adapter = taskpool(batch_size=7).bind(pool)["stsb"]
    heard: list[int] = []
    found = evaluate(pool.model("stsb"), {"stsb": adapter}, progress=lambda *said: heard.append(said[1]))["stsb"]
    assert heard == [0, 7, 14, 21, 28, 35, 40, 40]
    own, model, columns = t5_tokenizer(), pool.model("stsb"), adapter.texts("test")
    numbers = []
    for first, second in zip(columns["sentence1"], columns["sentence2"], strict=True):
        prompt = adapter.config.template.format(sentence1=first, sentence2=second)
        ids = model.generate(own(prompt, return_tensors="pt")["input_ids"], max_length=10, do_sample=False)
        numbers.append(number(said(ids[0])))
    none = [each is None for each in numbers]
    truth = adapter.truth("test")
    assert 0 < sum(none) < N
    assert len(set(truth)) > 10
    values = [NO_NUMBER if each is None else each for each in numbers]
    assert found.value == pytest.approx(spearmanr(values, truth).statistic, abs=1e-9)
    linear = pearsonr(values, truth).statistic
    assert found.extra == {
        "pearson": pytest.approx(linear),
        "pearson_spearman": pytest.approx((linear + found.value) / 2),
        "no_number": sum(none) / N,
    }
    assert (found.metric, found.loss, found.confidence, len(found.score)) == ("spearman", None, None, N)
    with pytest.raises(FusionBenchError, match="no example is simply right or wrong"):
        _ = found.correct


def test_what_the_task_does_not_have(pool: Any) -> None:
    adapter = taskpool().bind(pool)["stsb"]
    assert adapter.size("validation") == 6
    with pytest.raises(FusionBenchError, match="'adaptation' of stsb has no labels"):
        adapter.truth("adaptation")
    with pytest.raises(FusionBenchError, match="no labels of classes: it is scored by spearman"):
        adapter.labels("test")
    with pytest.raises(FusionBenchError, match="no logits"):
        adapter.logits(pool.model("rte"), next(iter(adapter.inputs("test"))))
    with pytest.raises(FusionBenchError, match="needs a model that writes numbers"):
        taskpool(by="likelihood")


def test_labels_that_are_no_numbers(root: Path, pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    write_glue(tmp_path, ["rte"])
    write_stsb(tmp_path, ["good"] * 60)
    with pytest.raises(FusionBenchError, match="labels that are no numbers"):
        taskpool().bind(pool)["stsb"].truth("test")


@pytest.fixture
def session(root: Path, pool: Any, tmp_path: Path) -> Iterator[Session]:
    tasks = {task: {"test_size": None} for task in ("rte", "stsb")}
    cards = {"type": "text_generation", "cards": "package://glue_tasks", "by": "generation", "tasks": tasks}
    models = {key: value for key, value in fields_of_pool(root).items() if key != "name"}
    for group, name, content in (("modelpool", "tiny", models), ("taskpool", "mine", cards)):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(content))
    with Session(config_dir=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db") as opened:
        yield opened


def test_a_case_from_search_to_gate(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = {}
    for name, overrides in (("simple_average", ()), ("task_arithmetic", ("++algorithm.search={scaling:[0.3,1.0]}",))):
        results[name] = run_case(Case(name, "tiny", "mine", overrides), session)
    found = results["task_arithmetic"]
    assert found.scored_by == {"stsb": "spearman"}
    assert found.metrics["spearman/stsb"] == found.metrics["accuracy/stsb"]
    assert 0 < found.metrics["no_number/stsb"] < 1
    assert "loss/rte" in found.metrics
    assert "normalized/rte" not in found.metrics  # its expert writes numbers as well, and is never right
    assert "normalized/mean" not in found.metrics
    assert "loss/stsb" not in found.metrics
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    records, notes = read_records(locate_store(uri))
    assert not notes
    by_name = {record.result["case"]["algorithm"]: record for record in records}
    record = by_name["task_arithmetic"]
    assert record.outcomes()["rte"].dtype == np.bool_
    assert record.outcomes()["stsb"].mean() == pytest.approx(found.metrics["spearman/stsb"], abs=1e-6)
    assert record.predictions()["stsb"].value == pytest.approx(found.metrics["spearman/stsb"], abs=1e-9)
    capsys.readouterr()
    assert main(["compare", by_name["task_arithmetic"].run_id, "simple_average", "--json", "--tracking-uri", uri]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "stsb is shown as 100 × spearman" in told["notes"]
    lines = {line["name"]: line for line in told["lines"]}
    assert lines["stsb"]["first"] == pytest.approx(found.metrics["spearman/stsb"], abs=1e-6)
    assert (lines["stsb"]["gained"], lines["rte"]["gained"]) == (None, 0)
    assert main(["report", "--tracking-uri", uri, "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "fusion_bench compare does it" in page
    assert "stsb is shown as 100 × spearman." in page
    baseline = from_result(found.to_dict(), date="2026-11-25")
    assert judge(baseline, baseline, Settings()).status == "as before"
    other = from_result({**results["simple_average"].to_dict(), "case": found.case}, date="2026-11-25")
    assert judge(baseline, other, Settings()).fails


def test_runs_without_any_loss_are_read_and_few_shots_of_no_class_are_refused(session: Session, tmp_path: Path) -> None:
    base = {"type": "text_generation", "cards": "package://glue_tasks", "by": "generation"}
    few = {"type": "few_shot", "shots": [1], "draws": 2}
    for name, more in (("alone", {}), ("few", {"protocol": few})):
        content = {**base, "tasks": {"stsb": {"test_size": None}}, **more}
        (tmp_path / "taskpool" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    run_case(Case("simple_average", "tiny", "alone"), session)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (record,), _ = read_records(locate_store(uri))
    found = record.predictions()["stsb"]
    assert (found.loss, found.confidence) == (None, None)
    frame = fusion_bench.results(per="example", tracking_uri=uri)
    assert frame["score"].mean() == pytest.approx(found.value)
    assert frame["correct"].isna().all()
    assert main(["report", "--tracking-uri", uri, "--out", str(tmp_path / "report.html")]) == 0
    with pytest.raises(FusionBenchError, match="no classes to draw examples of"):
        run_case(Case("task_arithmetic", "tiny", "few", ("++algorithm.search={scaling:[0.3,1.0]}",)), session)


def test_views_of_losses_are_refused_before_a_model_runs(pool: Any) -> None:
    adapters = taskpool().bind(pool)
    with pytest.raises(FusionBenchError, match="'stsb' has no losses"):
        cross_task(pool, adapters)
    with pytest.raises(FusionBenchError, match="'stsb' has no losses"):
        loss_path(pool, adapters, "base", "rte")
