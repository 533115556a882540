"""How far a task of the harness is: counted in its examples while it runs, and shown past what is kept quiet."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import unavailable
from fusion_bench.taskpools.harness.answers import Answers
from fusion_bench.taskpools.harness.library import quiet
from tests.helpers.tiny_harness import SIZE, taskpool

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

TASKS = {"choice": {"task": "tiny_choice"}, "match": {"task": "tiny_match"}}


def test_examples_count_by_the_share_of_answers() -> None:
    """Five examples of 14 answers, some of which are asked for twice."""
    requests = [SimpleNamespace(repeats=2)] * 4 + [SimpleNamespace(repeats=1)] * 6
    opened: Any = SimpleNamespace(size=5, task=SimpleNamespace(instances=requests))
    told: list[int] = []
    after = []
    answers = Answers(opened, told.append, contextlib.nullcontext)
    for _ in range(14):
        answers.add_partial("loglikelihood", ("a", "b"), 0.0)
        after.append(len(told))
    assert told == [1, 2, 3, 4, 5]
    assert after == [5 * given // 14 for given in range(1, 15)]


def test_a_task_that_runs_moves_on(folder: Path, pool: Any) -> None:
    heard: list[tuple[str, int, int]] = []
    adapters = taskpool(folder, TASKS).bind(pool)
    evaluate(pool.model("base"), adapters, progress=lambda *said: heard.append(said))
    assert {total for _, _, total in heard} == {2 * SIZE}
    choice, match = ([done for stage, done, _ in heard if stage == f"evaluate {task}"] for task in TASKS)
    assert choice[0] == 0
    assert match[0] == SIZE == choice[-1]
    assert match[-1] == 2 * SIZE
    for counted in (choice, match):
        assert counted == sorted(counted)
        assert len(set(counted)) > SIZE // 4  # batches are of four


def test_a_batch_that_does_not_fit_begins_again(folder: Path, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    heard: list[int] = []
    calls, call = 0, HFLM._model_call

    def short(self: Any, inputs: Any, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(self, inputs, *rest)

    monkeypatch.setattr(HFLM, "_model_call", short)
    adapters = taskpool(folder, {"choice": TASKS["choice"]}).bind(pool)
    evaluate(pool.model("base"), adapters, progress=lambda stage, done, total: heard.append(done))
    again = next(place for place in range(1, len(heard)) if heard[place] < heard[place - 1])
    assert heard[again] == 1
    assert heard[again:] == sorted(heard[again:])
    assert heard[-1] == SIZE


def test_what_counts_is_heard_where_everything_else_is_quiet(
    folder: Path, pool: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def say(stage: str, done: int, total: int) -> None:
        print(f"{stage} {done}", file=sys.stderr)

    evaluate(pool.model("base"), taskpool(folder, TASKS).bind(pool), progress=say)
    output, errors = capfd.readouterr()
    assert output == ""
    lines = errors.splitlines()
    assert len(lines) > SIZE // 2
    assert all(line.startswith(("evaluate choice ", "evaluate match ")) for line in lines)


def test_streams_are_put_back_however_it_ends() -> None:
    before = sys.stdout, sys.stderr
    with contextlib.suppress(ZeroDivisionError), quiet() as aloud:
        silenced = sys.stdout, sys.stderr
        assert silenced[0] is not before[0]
        with contextlib.suppress(KeyError), aloud():
            assert (sys.stdout, sys.stderr) == before
            raise KeyError
        assert (sys.stdout, sys.stderr) == silenced
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before
