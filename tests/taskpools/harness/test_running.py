"""Tasks of lm-evaluation-harness: against the harness itself, and by hand, one example at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import unavailable
from fusion_bench.taskpools.harness.running import run
from fusion_bench.taskpools.steps import Steps
from tests.helpers.tiny_harness import SIZE, found, likelihood, taskpool, written
from tests.helpers.tiny_text import gpt2_tokenizer

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def reported(folder: Path, pool: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the harness says by itself."""
    import lm_eval.evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda results: None)  # it runs pip
    results = lm_eval.evaluator.simple_evaluate(
        model=HFLM(pretrained=pool.model(name), tokenizer=gpt2_tokenizer(), batch_size=3),
        tasks=["tiny_choice", "tiny_match", "tiny_overlap"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=1000,
    )
    return results["results"]


def test_scores_and_standard_errors_are_the_harness_own(
    folder: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = {"choice": "acc,none", "norm": "acc_norm,none", "first": "exact_match,first-word",
          "last": "exact_match,last-word", "overlap": "overlap,none"}  # fmt: skip
    homes = {"choice": "choice", "norm": "choice", "first": "match", "last": "match", "overlap": "overlap"}
    for name in ("base", "choice"):
        mine, theirs = found(folder, pool, name), reported(folder, pool, name, monkeypatch)
        for task, key in of.items():
            metric, after = key.split(",")
            one, other = mine[task], theirs[f"tiny_{homes[task]}"]
            suffix = "" if after == "none" else f".{after}"
            assert one.value == pytest.approx(other[key], abs=1e-12), (name, task)
            assert one.metric == metric + suffix
            assert one.extra[f"{metric}_stderr{suffix}"] == pytest.approx(other[f"{metric}_stderr,{after}"])
            assert one.index.tolist() == list(range(SIZE))
            assert one.confidence is None
            assert one.loss is None
        assert 0 < mine["choice"].value < 1
        assert mine["choice"].extra["acc_norm"] == mine["norm"].value
        assert mine["choice"].extra["brier_score"] == pytest.approx(theirs["tiny_choice"]["brier_score,none"], rel=1e-5)
        assert "brier_score_stderr" not in mine["choice"].extra  # the harness has none: N/A
        assert mine["first"].extra["exact_match.last-word"] == mine["last"].value
        assert mine["overlap"].extra["length"] == pytest.approx(theirs["tiny_overlap"]["length,none"])


def test_a_metric_of_the_corpus_is_told_beside(
    folder: Path, pool: Any, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.metrics import matthews_corrcoef

    from fusion_bench.taskpools.harness import running

    monkeypatch.setattr(running, "RESAMPLES", 100)  # sklearn takes a millisecond for each
    mine = found(folder, pool, tasks={"t": {"task": "tiny_corpus"}})["t"]
    model = pool.model("base")
    said = [int(np.argmax([likelihood(model, f"{row['text']} ?", one) for one in row["choices"]])) for row in rows]
    assert mine.extra["mcc"] == pytest.approx(matthews_corrcoef([row["gold"] for row in rows], said))
    assert 0.05 < mine.extra["mcc_stderr"] < 0.5


def test_choices_are_the_likeliest_by_hand(folder: Path, pool: Any, rows: list[dict[str, Any]]) -> None:
    mine = found(folder, pool)
    model = pool.model("base")
    byhand = np.array([[likelihood(model, f"{row['text']} ?", one) for one in row["choices"]] for row in rows])
    lengths = np.array([[len(one) for one in row["choices"]] for row in rows])
    gold = np.array([row["gold"] for row in rows])
    assert mine["choice"].correct.tolist() == (byhand.argmax(axis=1) == gold).tolist()
    assert mine["norm"].correct.tolist() == ((byhand / lengths).argmax(axis=1) == gold).tolist()
    assert (mine["choice"].label == 1).all()
    assert mine["choice"].score is None
    opened = taskpool(folder)._open()["choice"]
    _, samples = run(
        model, opened, pool.tokenizer, batch=5, chat=False, device="cpu", steps=Steps("float32"), fits={}
    )  # fmt: skip
    theirs = [[float(of[0][0]) for of in one["resps"]] for one in sorted(samples, key=lambda one: one["doc_id"])]
    assert np.allclose(theirs, byhand, atol=1e-4)


def test_words_are_matched_after_each_filter(folder: Path, pool: Any, rows: list[dict[str, Any]]) -> None:
    for name in ("base", "choice"):
        said = [written(pool.model(name), f"{row['text']} ?") for row in rows]
        mine = found(folder, pool, name)
        for task, place in (("first", 0), ("last", -1)):
            wanted = [bool(words) and words[place] == row["answer"] for words, row in zip(said, rows, strict=True)]
            assert mine[task].correct.tolist() == wanted, (name, task)
        wanted = [
            len({row["answer"]} & set(words)) / len({row["answer"]} | set(words))
            for words, row in zip(said, rows, strict=True)
        ]
        assert mine["overlap"].score is not None
        assert mine["overlap"].score.tolist() == pytest.approx(wanted)
        assert mine["overlap"].label.tolist() == [-1] * SIZE
        if name == "base":  # its answers were made so
            assert 0 < mine["first"].value < 1
            assert 0 < mine["last"].value < 1
            assert len(set(wanted)) > 2 or 0 < np.mean(wanted) < 1


def test_models_see_the_same_prompts_and_nothing_is_left_changed(folder: Path, pool: Any) -> None:
    tasks = {"shots": {"task": "tiny_choice", "num_fewshot": 2}}
    adapters = taskpool(folder, tasks).bind(pool)
    model = pool.model("base")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random.seed(3)
    torch.manual_seed(3)
    before = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist())  # noqa: NPY002
    padding = (pool.tokenizer.pad_token, pool.tokenizer.padding_side)
    first, second = evaluate(model, adapters)["shots"], evaluate(model, adapters)["shots"]
    assert first.digest == second.digest
    assert first.extra == second.extra
    assert first.extra["brier_score"] != found(folder, pool)["choice"].extra["brier_score"]
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002
    assert (pool.tokenizer.pad_token, pool.tokenizer.padding_side) == padding
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_nothing_is_printed_or_logged(
    folder: Path, pool: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    found(folder, pool)
    assert capfd.readouterr() == ("", "")
    assert [one for one in caplog.records if one.name.startswith("lm_eval")] == []


def test_in_bfloat16_scores_move_a_little(folder: Path, pool: Any) -> None:
    adapters = taskpool(folder, {"choice": {"task": "tiny_choice"}}).bind(pool)
    exact = evaluate(pool.model("base"), adapters)["choice"].extra["brier_score"]
    half = evaluate(pool.model("base"), adapters, steps=Steps("bfloat16"))["choice"].extra["brier_score"]
    assert half != exact
    assert half == pytest.approx(exact, abs=0.05)


def test_batches_are_halved_where_memory_does_not_do(folder: Path, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    whole, seen, room, call = found(folder, pool), [], 1, HFLM._model_call

    def short(self: Any, inputs: Any, *rest: Any) -> Any:
        seen.append(len(inputs))
        if len(inputs) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(self, inputs, *rest)

    monkeypatch.setattr(HFLM, "_model_call", short)
    adapters = taskpool(folder, {"choice": {"task": "tiny_choice"}, "norm": {"task": "tiny_tagged"}}).bind(pool)
    halved = evaluate(pool.model("base"), adapters)
    assert halved["choice"].digest == whole["choice"].digest
    assert seen[:2] == [4, 2]
    assert set(seen[2:]) == {1}  # the second task begins with what fitted
    room = 0
    with pytest.raises(FusionBenchError, match="cpu runs out of memory with one example at a time"):
        evaluate(pool.model("base"), adapters)
