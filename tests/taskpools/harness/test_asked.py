"""The task pool of lm-evaluation-harness: what it hashes, where its data is, what it refuses; and a whole case."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fusion_bench.cases import Case, Session, run_case
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import library, unavailable
from tests.helpers.tiny_harness import SIZE, UTILS, found, likelihood, taskpool, write
from tests.helpers.tiny_text import gpt2_tokenizer

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def test_hashes_are_of_what_is_asked(folder: Path, pool: Any, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    def hashed(where: Path, tasks: Any = None, **options: Any) -> tuple[str, str]:
        made = taskpool(where, tasks or {"t": {"task": "tiny_overlap"}}, **options)
        return made.bind(pool)["t"].data_hash("test"), made.content_hash()

    same = hashed(folder)
    assert hashed(write(tmp_path / "elsewhere", rows)) == same
    assert hashed(folder, batch_size=2) == same
    assert hashed(folder, limit=SIZE) == same
    others = [
        hashed(write(tmp_path / "changed", [{**rows[0], "answer": "it"}, *rows[1:]])),
        hashed(folder, limit=5),
        hashed(folder, {"t": {"task": "tiny_choice"}}),
        hashed(folder, {"t": {"task": "tiny_choice", "metric": "acc_norm"}}),
        hashed(folder, {"t": {"task": "tiny_choice", "num_fewshot": 2}}),
    ]
    changed = write(tmp_path / "code", rows)
    (changed / "utils.py").write_text(UTILS.replace("len(said | wanted)", "len(said)"))
    others.append(hashed(changed))
    for place in (0, 1):
        assert len({one[place] for one in [same, *others]}) == len(others) + 1
    cut = taskpool(folder, {"t": {"task": "tiny_overlap"}}, limit=5).bind(pool)["t"]
    assert cut.size("test") == 5
    assert evaluate(pool.model("base"), {"t": cut})["t"].index.tolist() == list(range(5))


def test_data_may_lie_in_a_copy_of_the_hubs(
    folder: Path, pool: Any, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one configuration of two: the other's files are named by the card, and were not fetched."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    place = tmp_path / "me" / "words"
    (place / "ours").mkdir(parents=True)
    datasets.Dataset.from_list(rows[:6]).to_parquet(place / "ours" / "test-00000-of-00001.parquet")
    card = [{"config_name": c, "data_files": [{"split": "test", "path": f"{c}/test-*"}]} for c in ("alien", "ours")]
    (place / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': card})}---\n")
    config = yaml.safe_load((folder / "tiny_choice.yaml").read_text())
    kept = {key: one for key, one in config.items() if key not in ("dataset_kwargs", "training_split", "fewshot_split")}
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for name, more in {"own": {}, "trained": {"training_split": "train"}, "drawn": {"custom_dataset": "x"}}.items():
        written = {**kept, **more, "task": name, "dataset_path": "no/such", "dataset_name": "ours"}
        (tasks / f"{name}.yaml").write_text(yaml.safe_dump(written))
    fields = {"task": "own", "data": "me/words", "revision": "0" * 40}
    adapter = taskpool(tasks, {"t": {**fields, "test_size": 6}}).bind(pool)["t"]
    assert adapter.size("test") == 6
    assert evaluate(pool.model("base"), {"t": adapter})["t"].correct.tolist() == (
        found(folder, pool)["choice"].correct[:6].tolist()
    )
    wrong = {
        "has 6 examples, and 7 are expected": {**fields, "test_size": 7},
        r"(?s)data set me/other is not here.*pools fetch": {"task": "own", "data": "me/other"},
        "no Parquet file of the split 'train'": {**fields, "task": "trained"},
        "gets its data by code of its own": {**fields, "task": "drawn"},
        "no/such": {"task": "own"},
    }
    for message, one in wrong.items():
        with pytest.raises(FusionBenchError, match=message):
            taskpool(tasks, {"t": one}).bind(pool)


REFUSED = {
    "an unknown task": ({"task": "tiny_choise"}, r"(?s)no task 'tiny_choise'.*nearest: tiny_choice"),
    "a task like no other": ({"task": "qqqq"}, r"(?s)no task 'qqqq'\n.*lm_eval ls tasks lists them$"),
    "a group": ({"task": "tiny_group"}, r"(?s)is a group of the harness, not one task.*tiny_choice, tiny_match"),
    "a tag": ({"task": "tiny_tag"}, r"(?s)is a tag of the harness, not one task.*tiny_tagged"),
    "a metric that it has not": ({"task": "tiny_choice", "metric": "acc_nrom"}, r"(?s)unknown metric.*acc_norm"),
    "a filter that it has not": ({"task": "tiny_match", "filter": "last"}, r"(?s)unknown filter.*last-word"),
    "a metric of the corpus": (
        {"task": "tiny_corpus", "metric": "mcc"}, r"(?s)mcc is no mean over examples.*metric: acc",
    ),
    "perplexity": (
        {"task": "tiny_rolling"}, r"(?s)word_perplexity is no mean over examples.*none of its metrics can be",
    ),
    "smaller is better": (
        {"task": "tiny_overlap", "metric": "length"}, r"(?s)length is better when it is smaller.*metric: overlap",
    ),
    "code of a model": ({"task": "tiny_unsafe"}, "runs the code that a model writes"),
    "code of the hub": ({"task": "tiny_remote"}, "'cer' is code that the hub sends"),
    "examples where none are allowed": ({"task": "tiny_zero", "num_fewshot": 3}, "prompts without examples"),
    "a field that is none": ({"task": "tiny_choice", "shots": 3}, "shots"),
    "a revision of nothing": ({"task": "tiny_choice", "revision": "main"}, "revision and subset are of data"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_before_anything_runs(what: str, folder: Path, pool: Any, catalogues: None) -> None:
    fields, message = REFUSED[what]
    with pytest.raises(FusionBenchError, match=message):
        taskpool(folder, {"t": fields}).bind(pool)


@pytest.fixture
def catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness' own thousands of tasks take seconds to list, and nothing here is about them."""
    import lm_eval.tasks

    made = lm_eval.tasks.TaskManager
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **options: made(**{**options, "include_defaults": False}))


def test_refused_when_it_runs(folder: Path, pool: Any) -> None:
    with pytest.raises(FusionBenchError, match="neither right nor wrong"):
        found(folder, pool, tasks={"t": {"task": "tiny_overlap", "right_or_wrong": True}})
    with pytest.raises(FusionBenchError, match=r"cannot evaluate 't': Invalid configuration.*\(100\)"):
        found(folder, pool, tasks={"t": {"task": "tiny_long"}})
    adapter = taskpool(folder, {"t": {"task": "tiny_choice"}}).bind(pool)["t"]
    with pytest.raises(FusionBenchError, match=r"(?s)no split 'validation'.*algorithm.scaling=0.3"):
        adapter.size("validation")
    with pytest.raises(FusionBenchError, match="models of transformers, no Linear"):
        evaluate(torch.nn.Linear(2, 2), {"t": adapter})
    with pytest.raises(FusionBenchError, match="no chat template"):
        taskpool(folder, {"t": {"task": "tiny_choice"}}, apply_chat_template=True).bind(pool)
    with pytest.raises(FusionBenchError, match="no folder"):
        taskpool(folder / "none", {"t": {"task": "tiny_choice"}}).bind(pool)


def test_a_chat_template_changes_prompts_and_their_hash(folder: Path, pool: Any) -> None:
    template = "{% for one in messages %}it {{ one['content'] }} very {% endfor %}"
    own = pool.tokenizer
    tasks = {"choice": {"task": "tiny_choice"}}
    plain = taskpool(folder, tasks).bind(pool)["choice"]
    own.chat_template = template
    try:
        adapter = taskpool(folder, tasks, apply_chat_template=True).bind(pool)["choice"]
        assert adapter.data_hash("test") != plain.data_hash("test")
        mine = evaluate(pool.model("base"), {"choice": adapter})["choice"]
    finally:
        own.chat_template = None
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    byhand = [
        int(np.argmax([likelihood(pool.model("base"), f"it {row['text']} ? very", one) for one in row["choices"]]))
        for row in rows
    ]
    assert mine.correct.tolist() == [choice == row["gold"] for choice, row in zip(byhand, rows, strict=True)]


def test_without_the_library_the_command_is_told(folder: Path, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    made = taskpool(folder)
    monkeypatch.setattr(library, "version_of", absent)
    with pytest.raises(
        FusionBenchError, match=r"(?s)needs the library lm-eval.*pip install 'fusion-bench-suite\[lm\]'"
    ):
        made.bind(pool)
    monkeypatch.setattr(library, "version_of", lambda name: "0.4.9")
    with pytest.raises(FusionBenchError, match=r"0\.4\.13 or later, 0\.4\.9 is installed"):
        made.facts()


def test_the_presets_name_tasks_and_metrics_that_the_harness_has(pool: Any) -> None:
    from fusion_bench.taskpools.harness import Catalogue

    made = load_taskpool("lm_core")
    assert made.facts() == {"lm_eval": library.version()}
    catalogue = Catalogue(None, where="here")
    for config in [*made._configs.values(), *load_taskpool("lm_mergebench")._configs.values()]:
        written = catalogue._found(config.task)[1].cfg
        assert config.metric in [one["metric"] for one in written["metric_list"]]
        assert written["dataset_path"] == config.data
        assert config.subset in (None, written["dataset_name"])
        assert config.filter in (None, *(one["name"] for one in written.get("filter_list") or []))
    with pytest.raises(FusionBenchError, match=r"(?s)'mmlu' is a group.*mmlu_stem"):
        catalogue.folder("mmlu")
    for task in ("humaneval", "mbpp"):  # their modules run such code when they are imported
        with pytest.raises(FusionBenchError, match="runs the code that a model writes"):
            catalogue.task(made._configs["gsm8k"].model_copy(update={"task": task, "data": None}))


def test_a_case_with_a_warning_of_an_expert_below_its_base(folder: Path, pool: Any, tmp_path: Path) -> None:
    tasks = {"choice": {"task": "tiny_overlap"}, "match": {"task": "tiny_match"}}
    root = Path(pool._models_of.folder("base")).parent
    values = {
        path: found(folder, pool, name, tasks)["choice"].value for path, name in (("base", "base"), ("a", "choice"))
    }
    worse, better = sorted(values, key=lambda path: values[path])
    assert values[worse] < values[better]
    gpt2_tokenizer().save_pretrained(root / "a")
    models = {"type": "hf_causal_lm", "base": str(root / better), "experts": {"choice": str(root / worse)}}
    own = {"type": "lm_evaluation", "tasks": tasks, "include_path": str(folder), "batch_size": 4}
    for group, name, content in (("modelpool", "tiny", models), ("taskpool", "mine", own)):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(content))
    with Session(config_dir=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db") as session:
        with pytest.warns(UserWarning, match="tiny/mine: choice: the expert scores") as told:
            result, again = (run_case(Case(a, "tiny", "mine"), session) for a in ("simple_average", "pretrained"))
        assert sum("the expert scores" in str(one.message) for one in told) == 1  # once a session
        with pytest.raises(FusionBenchError, match=r"(?s)no split 'validation'.*algorithm.scaling=0.3"):
            run_case(Case("task_arithmetic", "tiny", "mine", ("++algorithm.search={scaling:[0.3,1.0]}",)), session)
    assert result.scored_by == {"choice": "overlap", "match": "exact_match.first-word"}
    assert {"overlap/choice", "overlap_stderr/choice", "exact_match.last-word/match"} <= set(result.metrics)
    assert again.metrics["accuracy/choice"] == values[better]
    assert result.config["data"] == {"lm_eval": library.version()}
