"""Tasks of lm-evaluation-harness: against the harness itself, and by hand, one example at a time."""

from __future__ import annotations

import json
import random
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import library, unavailable
from fusion_bench.taskpools.harness.running import run
from fusion_bench.taskpools.steps import Steps
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, random_model, sentences

needs_harness = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
pytestmark = needs_harness

SIZE = 14
WORDS = ("cat", "dog", "mat", "red", "blue")
UTILS = """
def share(said, wanted):
    return len(said & wanted) / len(said | wanted)


def overlap(doc, results):
    words = results[0].split()
    return {"overlap": share(set(words), set(doc["answer"].split())), "length": float(len(words))}
"""


@torch.inference_mode()
def written(model: Any, text: str, *, tokens: int = 3) -> list[str]:
    """What a model writes greedily, word by word, without a cache, padding or a batch."""
    own = gpt2_tokenizer()
    ids = own(text)["input_ids"]
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == own.eos_token_id:
            break
    return own.decode(ids[len(own(text)["input_ids"]) :], skip_special_tokens=True).split()


@torch.inference_mode()
def likelihood(model: Any, text: str, answer: str) -> float:
    """log p(answer | text) in nats, from the model's logits alone."""
    own = gpt2_tokenizer()
    before, ids = len(own(text)["input_ids"]), own(f"{text} {answer}")["input_ids"]
    logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return float(sum(logs[place - 1, ids[place]] for place in range(before, len(ids))))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import GPT2LMHeadModel

    root = tmp_path_factory.mktemp("gpt2")
    for seed, name in enumerate(("base", "a")):
        random_model(GPT2LMHeadModel, gpt2_config(), seed=seed).save_pretrained(root / name)
    gpt2_tokenizer().save_pretrained(root / "base")
    return load_modelpool(
        {"type": "hf_causal_lm", "name": "tiny", "base": str(root / "base"), "experts": {"choice": str(root / "a")}}
    )


@pytest.fixture(scope="module")
def rows(pool: Any) -> list[dict[str, Any]]:
    """Texts with an answer that the base gives in every second one: the first word, the last, or both."""
    found = []
    for index, text in enumerate(dict.fromkeys(sentences(3 * SIZE, seed=5, longest=5))):
        said = written(pool.model("base"), f"{text} ?")
        if len(said) < 2 or said[0] == said[-1]:
            continue
        answer = [said[0], said[-1], "premise"][index % 3]
        choices = [WORDS[(index + place) % 5] + (" very good" if place == 1 else "") for place in range(3)]
        found.append({"text": text, "answer": answer, "choices": choices, "gold": (7 * index) % 3})
    assert len(found) >= SIZE
    return found[:SIZE]


def write(root: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder of the harness' tasks, with their data beside them."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shots = [{"text": t, "answer": "red", "choices": ["red", "a"], "gold": 0} for t in sentences(9, seed=9, longest=2)]
    (root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shots))
    (root / "utils.py").write_text(UTILS)
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(root / "data.jsonl"), "train": str(root / "train.jsonl")},
            "cache_dir": str(root / "cache"),
        },
        "test_split": "test",
        "doc_to_text": "{{text}} ?",
        "metadata": {"version": 1},
    }
    mean = {"aggregation": "mean", "higher_is_better": True}
    choice = {
        **common, "task": "tiny_choice", "output_type": "multiple_choice", "doc_to_choice": "choices",
        "doc_to_target": "gold", "training_split": "train", "fewshot_split": "train",
        "metric_list": [
            {"metric": "acc", **mean}, {"metric": "acc_norm", **mean},
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    }  # fmt: skip
    generated = {
        **common, "output_type": "generate_until", "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 3, "do_sample": False},
    }  # fmt: skip
    first = [{"function": "regex", "regex_pattern": r"^\s*(\w+)"}, {"function": "take_first"}]
    last = [{"function": "regex", "regex_pattern": r"(\w+)", "group_select": -1}, {"function": "take_first"}]
    matched = {
        **generated, "task": "tiny_match", "metric_list": [{"metric": "exact_match", **mean}],
        "filter_list": [{"name": "first-word", "filter": first}, {"name": "last-word", "filter": last}],
    }  # fmt: skip
    corpus = {
        **choice, "task": "tiny_corpus",
        "metric_list": [{"metric": "acc", **mean}, {**mean, "metric": "mcc", "aggregation": "matthews_corrcoef"}],
    }  # fmt: skip
    overlap = {**generated, "task": "tiny_overlap"}
    lists = [{"metric": "overlap", **mean}, {"metric": "length", "aggregation": "mean", "higher_is_better": False}]
    rolling = {
        **common, "task": "tiny_rolling", "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
    }  # fmt: skip
    unsafe = {**matched, "task": "tiny_unsafe", "unsafe_code": True}
    remote = {**matched, "task": "tiny_remote", "metric_list": [{"metric": "cer", **mean}]}
    zero = {**choice, "task": "tiny_zero", "num_fewshot": 0}
    long = {**matched, "task": "tiny_long", "generation_kwargs": {"until": ["."], "max_gen_toks": 100}}
    tagged = {**choice, "task": "tiny_tagged", "tag": "tiny_tag"}
    group = {"group": "tiny_group", "task": ["tiny_choice", "tiny_match"]}
    for one in (choice, corpus, matched, rolling, unsafe, remote, zero, long, tagged, group):
        (root / f"{one.get('task') if 'group' not in one else 'group'}.yaml").write_text(yaml.safe_dump(one))
    text = yaml.safe_dump({**overlap, "metric_list": lists})
    (root / "tiny_overlap.yaml").write_text(f"{text}process_results: !function utils.overlap\n")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    return write(tmp_path_factory.mktemp("tasks"), rows)


def taskpool(folder: Path | None, tasks: Any = None, **options: Any) -> Any:
    named = tasks or {
        "choice": {"task": "tiny_choice"},
        "norm": {"task": "tiny_choice", "metric": "acc_norm"},
        "first": {"task": "tiny_match"},
        "last": {"task": "tiny_match", "filter": "last-word"},
        "overlap": {"task": "tiny_overlap"},
    }
    path = {} if folder is None else {"include_path": str(folder)}
    return load_taskpool({"type": "lm_evaluation", "name": "mine", "tasks": named, "batch_size": 4, **path, **options})


def found(folder: Path, pool: Any, name: str = "base", tasks: Any = None, **options: Any) -> Any:
    return evaluate(pool.model(name), taskpool(folder, tasks, **options).bind(pool))


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


def test_the_preset_names_tasks_and_metrics_that_the_harness_has(pool: Any) -> None:
    from fusion_bench.taskpools.harness import Catalogue

    made = load_taskpool("lm_core")
    assert made.facts() == {"lm_eval": library.version()}
    catalogue = Catalogue(None, where="here")
    for config in made._configs.values():
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
