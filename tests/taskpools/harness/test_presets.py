"""Presets of language models: every task opens offline, on data in the hub's layout, and scores as its YAML says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.pool_sources import read_pool
from fusion_bench.registry import load_taskpool, read_config
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import unavailable
from tests.helpers.hub_lm_data import ROWS, write_all

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

PRESETS = ("lm_core", "lm_mergebench")


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    root = tmp_path_factory.mktemp("hub")
    write_all(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(root))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        yield


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest) -> Any:
    """A preset but for the number of its examples."""
    name = str(request.param)
    config = read_config("taskpool", name)
    return load_taskpool({**config, "name": name, "tasks": _resized(config["tasks"], ROWS)})


def _resized(tasks: dict[str, Any], size: int) -> dict[str, Any]:
    return {task: {**fields, "test_size": size} for task, fields in tasks.items()}


def test_every_task_opens_and_scores(preset: Any, pool: Any) -> None:
    adapters = preset.bind(pool)
    assert list(adapters) == list(read_config("taskpool", preset.name)["tasks"])
    chosen = {task: one for task, one in adapters.items() if one.metric in ("acc", "acc_norm")}
    assert set(adapters) - set(chosen) <= {"gsm8k", "gsm8k_cot"}
    for task, found in evaluate(pool.model("base"), chosen).items():
        assert len(found.correct) == ROWS
        assert found.metric == read_config("taskpool", preset.name)["tasks"][task]["metric"]
    for task in set(adapters) - set(chosen):  # their prompts are longer than the little model's context
        opened = preset._open()[task]
        assert adapters[task].metric == "exact_match.flexible-extract"
        assert opened.task.doc_to_target(opened.task.eval_docs[2]).endswith("3")


def test_of_each_task_the_row_that_is_right_is_the_datas(preset: Any, pool: Any) -> None:
    """The gold answers, in the order of the choices that are scored: the rows' letters and numbers go round."""
    for task, adapter in preset.bind(pool).items():
        if adapter.metric in ("acc", "acc_norm"):
            opened = preset._open()[task].task
            docs = list(opened.eval_docs)
            numbers = [_gold(opened, doc) for doc in docs]
            assert numbers == [place % 4 for place in range(ROWS)], task
            assert all(len(opened.doc_to_choice(doc)) == 4 for doc in docs)


def _gold(task: Any, doc: Any) -> int:
    """The place of the right choice; some tasks give the choice, some its number, or that as a text."""
    said = task.doc_to_target(doc)
    choices = task.doc_to_choice(doc)
    return int(choices.index(said) if said in choices else said)


def test_another_number_of_examples_is_told(pool: Any) -> None:
    with pytest.raises(FusionBenchError, match=f"has {ROWS} examples, and 1,172 are expected"):
        load_taskpool("lm_core").bind(pool)


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_is_missing_for_a_run(name: str) -> None:
    found = read_pool("taskpool", name)
    assert len(found.sources) == len(found.config["tasks"])
    assert found.missing == {}
