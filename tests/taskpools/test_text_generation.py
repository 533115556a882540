"""Tasks answered in words, against transformers one example at a time, and whole cases on data in GLUE's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fusion_bench.cases import Case, Session, run_case
from fusion_bench.datasets import locate
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.cards import with_cards
from fusion_bench.modelpools import restricted
from fusion_bench.registry import load_modelpool, load_taskpool, names, read_config
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.text import TextTaskConfig
from fusion_bench.taskpools.text.examples import by_length
from fusion_bench.taskpools.text.generation import log_likelihoods
from tests.helpers.tiny_text import GLUE, random_model, t5_config, t5_tokenizer, taught, write_glue

TASKS = ("cola", "mnli", "rte")


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, patched: pytest.MonkeyPatch) -> Path:
    """Models and data of GLUE, found through the environment; each expert has learned one answer to everything."""
    from transformers import T5ForConditionalGeneration

    root = tmp_path_factory.mktemp("hub")
    patched.setenv("FUSION_BENCH_MODELS", str(root))
    patched.setenv("HF_DATASETS_CACHE", str(root / "cache"))
    write_glue(root, TASKS)
    random_model(T5ForConditionalGeneration, t5_config(), seed=0).save_pretrained(root / "base")
    for seed, (task, answer) in enumerate({"cola": "acceptable", "mnli": "neutral", "rte": "yes"}.items()):
        model = random_model(T5ForConditionalGeneration, t5_config(), seed=seed, spread=0.05)
        taught(model, t5_tokenizer(), answer).save_pretrained(root / task)
    t5_tokenizer().save_pretrained(root / "base")
    return root


@pytest.fixture(scope="module")
def pool(root: Path) -> Any:
    experts = {task: str(root / task) for task in TASKS}
    return load_modelpool({"type": "hf_seq2seq", "name": "tiny", "base": str(root / "base"), "experts": experts})


def taskpool(*, tasks: Any = TASKS, **options: Any) -> Any:
    named = tasks if isinstance(tasks, dict) else {task: {"test_size": None} for task in tasks}
    fields = {"type": "text_generation", "name": "mine", "cards": "package://glue_tasks", **options}
    return load_taskpool({**fields, "tasks": named})


@torch.inference_mode()
def alone(pool: Any, name: str, prompt: str, answer: str) -> float:
    """−loss × tokens of transformers' own loss: the log-likelihood of one answer, without padding or shared states."""
    own = t5_tokenizer()
    labels = own(answer, return_tensors="pt")["input_ids"]
    loss = pool.model(name)(input_ids=own(prompt, return_tensors="pt")["input_ids"], labels=labels).loss
    return -float(loss) * labels.shape[1]


def prompts(task: str, adapter: Any, split: str = "test") -> list[str]:
    columns = adapter.texts(split)
    return [adapter.config.template.format(**{c: t[i] for c, t in columns.items()}) for i in range(adapter.size(split))]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["base", "rte"])
def test_logits_are_likelihoods_of_the_answers(pool: Any, task: str, name: str) -> None:
    adapter = taskpool(batch_size=16).bind(pool)[task]
    logits = torch.cat([adapter.logits(pool.model(name), batch) for batch in adapter.inputs("test")]).detach()
    wanted = [[alone(pool, name, p, a) for a in adapter.config.answers] for p in prompts(task, adapter)]
    assert (logits.shape, logits.dtype) == ((40, len(GLUE[task][1])), torch.float32)
    assert torch.allclose(logits, torch.tensor(wanted), atol=2e-4)
    if name == "base":
        assert logits.std(dim=0).min() > 0.05  # they tell the examples apart


def test_likelihoods_are_of_a_distribution(pool: Any) -> None:
    """The first tokens' likelihoods sum to one, and those of what may follow a token to that token's."""
    own, model = t5_tokenizer(), pool.model("base")
    tokens = pool.tokens(["it ran", "the cat sat on a mat"])
    with torch.inference_mode():
        first = log_likelihoods(model, tokens, [[word] for word in range(len(own))]).exp()
        second = log_likelihoods(model, tokens, [[7, word] for word in range(len(own))]).exp()
        several = log_likelihoods(model, tokens, pool.targets(["not very good"]))
    assert torch.allclose(first.sum(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(second.sum(dim=1), first[:, 7], rtol=1e-4)
    assert several[0, 0] == pytest.approx(alone(pool, "base", "it ran", "not very good"), abs=1e-4)


def test_what_is_generated_is_what_transformers_generates(pool: Any) -> None:
    own, seen = t5_tokenizer(), set()
    for name in ("base", "cola", "rte"):
        adapters = taskpool(by="generation", batch_size=12).bind(pool)
        for task, adapter in adapters.items():
            model = pool.model(name)
            found = adapter.generate(model, next(iter(adapter.inputs("test"))))
            wanted = []
            for prompt in prompts(task, adapter)[:12]:
                ids = own(prompt, return_tensors="pt")["input_ids"]
                text = own.decode(model.generate(ids, max_length=10, do_sample=False)[0], skip_special_tokens=True)
                answers = list(adapter.config.answers)
                wanted.append(answers.index(text) if text in answers else -1)
            assert found.dtype == torch.int64
            assert found.tolist() == wanted, (name, task)
            seen |= set(wanted)
    assert seen >= {-1, 0, 1}


def test_generated_answers_decide_predictions_and_likelihoods_the_rest(pool: Any) -> None:
    written = evaluate(pool.model("rte"), taskpool(by="generation").bind(pool))
    likely = evaluate(pool.model("rte"), taskpool().bind(pool))
    assert set(written["rte"].prediction) == {0}
    assert set(written["cola"].prediction) == {-1}
    assert set(likely["cola"].prediction) <= {0, 1}
    assert written["cola"].value == 0 < likely["cola"].value
    for task in TASKS:
        assert np.array_equal(written[task].loss, likely[task].loss)
        assert np.array_equal(written[task].confidence, likely[task].confidence)


def test_the_test_split_is_glues_validation_and_ours_is_cut_from_training(pool: Any) -> None:
    adapters = taskpool(tasks={"mnli": {"test_size": 40}}).bind(pool)
    adapter = adapters["mnli"]
    assert {s: adapter.size(s) for s in ("train", "validation", "adaptation", "test")} == {
        "train": 48, "validation": 6, "adaptation": 6, "test": 40,
    }  # fmt: skip
    assert adapter.classes == GLUE["mnli"][1]
    assert adapter.labels("test").tolist() == [i % 3 for i in range(40)]
    with pytest.raises(FusionBenchError, match="'adaptation' of mnli has no labels"):
        adapter.labels("adaptation")
    hashes = {split: adapter.data_hash(split) for split in ("train", "validation", "test")}
    assert len(set(hashes.values())) == 3
    again = taskpool(tasks={"mnli": {"test_size": None}}).bind(pool)["mnli"]
    assert again.data_hash("test") == hashes["test"]
    for changed in ({"template": "{premise} {hypothesis}"}, {"answers": ["yes", "it", "no"]}):
        other = taskpool(tasks={"mnli": {"test_size": None, **changed}}).bind(pool)["mnli"]
        assert other.data_hash("test") != hashes["test"]
    first = next(iter(adapter.inputs("test")))
    assert first["input_ids"][0, :3].tolist() == t5_tokenizer()("Does the premise")["input_ids"][:3]


def test_a_batch_is_in_its_order_whatever_the_lengths() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 20, (75,), generator=generator)
    mask = (torch.arange(20)[None] < lengths[:, None]).long()
    ids = torch.arange(75)[:, None].expand(-1, 20) * mask
    shapes = []

    def function(tokens: Any) -> torch.Tensor:
        shapes.append(tuple(tokens["input_ids"].shape))
        return torch.stack([tokens["input_ids"][:, 0], tokens["attention_mask"].sum(dim=1)], dim=1)

    found = by_length({"input_ids": ids, "attention_mask": mask}, function)
    assert found.tolist() == [[row, int(length)] for row, length in enumerate(lengths)]
    assert [rows for rows, _ in shapes] == [32, 32, 11]
    assert shapes[0][1] < shapes[2][1] == int(lengths.max())


@pytest.fixture(scope="module")
def session(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("config")
    experts = {task: str(root / task) for task in TASKS}
    pools = {"type": "hf_seq2seq", "base": str(root / "base"), "experts": experts, "taskpools": ["likely", "written"]}
    tasks = {task: {"test_size": None} for task in TASKS}
    cards = {"type": "text_generation", "cards": "package://glue_tasks", "tasks": tasks}
    for group, name, content in (
        ("modelpool", "tiny", pools),
        ("taskpool", "likely", cards),
        ("taskpool", "written", {**cards, "by": "generation"}),
    ):
        (folder / group).mkdir(exist_ok=True)
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
@pytest.mark.parametrize("by", ["likely", "written"])
def test_cases_run(session: Session, pool: Any, algorithm: str, overrides: tuple[str, ...], by: str) -> None:
    result = run_case(Case(algorithm, "tiny", by, overrides), session).to_dict()
    assert set(result["tasks"]) == set(TASKS)
    accuracy = {task: result["metrics"][f"accuracy/{task}"] for task in TASKS}
    assert all(0 <= value <= 1 for value in accuracy.values())
    if algorithm == "experts":  # each writes the one answer that it learned
        assert accuracy == {"cola": 0.5, "mnli": pytest.approx(13 / 40), "rte": 0.5}
    if algorithm == "simple_ensemble":
        adapters = taskpool().bind(pool)
        for task, adapter in adapters.items():
            each = [
                torch.cat([adapter.logits(pool.model(n), b) for b in adapter.inputs("test")]).detach() for n in TASKS
            ]
            mean = torch.stack([logits.softmax(dim=1) for logits in each]).mean(dim=0)
            assert accuracy[task] == pytest.approx(float((mean.argmax(dim=1) == adapter.labels("test")).float().mean()))


def test_data_that_is_not_what_the_card_was_written_for(pool: Any, tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    def bound(task: str = "rte", **changes: Any) -> Any:
        return taskpool(tasks={task: {"test_size": None, **changes}}).bind(pool)[task]

    with pytest.raises(FusionBenchError, match="has 40 test examples, 'rte' was written for 277"):
        bound(test_size=277).size("test")
    with pytest.raises(
        FusionBenchError, match="class 0 of 'rte' is 'not_entailment', which nyu-mll/glue has at label 1"
    ):
        bound(classes=["not_entailment", "entailment"]).size("test")
    with pytest.raises(FusionBenchError, match="no column 'sentence3'"):
        bound(columns=["sentence1", "sentence3"], template="{sentence3}").size("test")
    with pytest.raises(FusionBenchError, match="no column 'sentence'"):
        bound(columns=["sentence"], template="{sentence}").size("test")
    with pytest.raises(FusionBenchError, match=r"run from -1 to -1(.|\n)*publisher"):
        bound(splits={}).labels("test")
    with pytest.raises(FusionBenchError, match="no Parquet file of sst2"):
        bound("sst2").size("test")
    batch, model = next(iter(bound().inputs("test"))), pool.model("base")
    alike = bound(answers=["purple", "violet"])  # neither of them a word that the tokenizer knows
    with pytest.raises(FusionBenchError, match="same tokens as another"):
        alike.logits(model, batch)
    tasks = {"rte": {"test_size": None, "answers": ["yes", "not very good"]}}
    short = taskpool(tasks=tasks, by="generation", max_new_tokens=2).bind(pool)["rte"]
    with pytest.raises(FusionBenchError, match="has 4 tokens, and max_new_tokens is 2"):
        short.generate(model, batch)


def test_options_that_cannot_be(pool: Any) -> None:
    for changes, said in (
        ({"answers": ["yes"]}, "one for each class"),
        ({"answers": ["yes", " yes "]}, "no two alike"),
        ({"template": "{sentence9}?"}, "template names 'sentence9'"),
        ({"template": "nothing"}, "template names none"),
        ({"columns": []}, "columns"),
        ({"classes": ["a", "a"]}, "at least two classes"),
    ):
        with pytest.raises(FusionBenchError, match=said):
            taskpool(tasks={"rte": changes})
    with pytest.raises(FusionBenchError, match="by: Input should be 'likelihood' or 'generation'"):
        taskpool(by="guessing")
    with pytest.raises(FusionBenchError, match="'stsb' is scored by spearman"):
        taskpool(tasks=["stsb"])
    with pytest.raises(FusionBenchError, match="names tasks but no cards"):
        load_taskpool({"type": "text_generation", "tasks": ["a"]})
    with pytest.raises(FusionBenchError, match="'rte' has no template"):
        taskpool(tasks={"rte": {"template": None}}).bind(pool)
    assert taskpool().content_hash() != taskpool(by="generation").content_hash()
    assert taskpool().content_hash() == taskpool(name="yours", batch_size=3).content_hash()


def test_a_pool_that_does_not_write(pool: Any, toy_assets: Path) -> None:
    pictures = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})
    with pytest.raises(FusionBenchError, match="write answers in words; those of model pool 'toy' compare images"):
        taskpool().bind(pictures)
    assert set(taskpool().bind(restricted(pool, ["rte"]))) == set(TASKS)


def test_every_card_is_complete_and_every_pool_of_cards_is_read() -> None:
    cards = sorted(path.stem for path in locate("package://glue_tasks").glob("*.yaml"))
    assert cards == sorted([*GLUE, "stsb"])
    for task, card in with_cards(cards, "package://glue_tasks", where="all").items():
        config = TextTaskConfig(**card)
        assert (config.data, config.subset) == ("nyu-mll/glue", task)
        assert set(config.held_out or ()) == {"validation", "adaptation"}
        assert config.test_size
        assert "\n" not in (config.template or "\n")
        if task != "stsb":
            assert (config.columns, config.classes) == (GLUE[task][0], GLUE[task][1])
            assert all(answer in (*config.classes, "yes", "no") for answer in config.answers or ())
    pools = {
        n: c for n in names("taskpool") if (c := read_config("taskpool", n)).get("cards") == "package://glue_tasks"
    }
    assert set(pools) == {"glue7", "glue7_generation", "glue7_likelihood", "glue8", "glue8_generation"}
    for name in pools:
        assert set(load_taskpool(name).tasks) == set(GLUE) | ({"stsb"} if name.startswith("glue8") else set())
    for name in names("modelpool"):
        for fits in set(read_config("modelpool", name).get("taskpools", ())) & set(pools):
            assert set(load_taskpool(fits).tasks) <= set(load_modelpool(name).expert_names)
