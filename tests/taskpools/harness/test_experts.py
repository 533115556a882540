"""Whose a task of the harness is: the warning, the experts' own scores, and what is relative to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fusion_bench.cases import Case, Session, run_case
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.harness import unavailable
from tests.helpers.tiny_harness import taskpool
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, random_model

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

TASKS: dict[str, dict[str, Any]] = {
    "choice": {"task": "tiny_choice", "expert": "math"},
    "norm": {"task": "tiny_choice", "metric": "acc_norm", "expert": "math"},
    "overlap": {"task": "tiny_overlap", "expert": ["nobody", "code"]},
    "first": {"task": "tiny_match"},
}
OWN = {"choice": "math", "norm": "math", "overlap": "code"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from transformers import GPT2LMHeadModel

    root = tmp_path_factory.mktemp("experts")
    for seed, name in enumerate(("code", "math", "base")):  # the rows hold what the first one answers
        random_model(GPT2LMHeadModel, gpt2_config(), seed=seed).save_pretrained(root / name)
        gpt2_tokenizer().save_pretrained(root / name)
    experts = {name: str(root / name) for name in ("math", "code")}
    return {"type": "hf_causal_lm", "base": str(root / "base"), "experts": experts}


@pytest.fixture
def session(folder: Path, models: dict[str, Any], tmp_path: Path) -> Any:
    own = {"type": "lm_evaluation", "tasks": TASKS, "include_path": str(folder), "batch_size": 4}
    owned = {**own, "tasks": {task: fields for task, fields in TASKS.items() if task in OWN}}
    unseen = {**own, "protocol": {"type": "unseen", "unseen": ["choice"]}}
    pools = {"mine": own, "owned": owned, "unseen": unseen}
    files = [("modelpool", "tiny", models), *(("taskpool", name, pool) for name, pool in pools.items())]
    for group, name, content in files:
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(content))
    with Session(config_dir=tmp_path, tracking_uri="") as opened:
        yield opened


def by_hand(folder: Path, models: dict[str, Any], tasks: list[str]) -> dict[str, float]:
    """Each task's score by its own expert, without anything that knows whose it is."""
    loaded = load_modelpool({**models, "name": "tiny"})
    plain = {task: {key: one for key, one in TASKS[task].items() if key != "expert"} for task in tasks}
    adapters = taskpool(folder, plain).bind(loaded)
    return {task: evaluate(loaded.model(OWN[task]), {task: adapters[task]})[task].value for task in tasks}


@pytest.mark.filterwarnings("ignore:tiny/owned")
def test_experts_are_evaluated_on_their_own_tasks(folder: Path, models: dict[str, Any], session: Session) -> None:
    found = run_case(Case("experts", "tiny", "owned"), session)
    individual = by_hand(folder, models, list(OWN))
    assert min(individual.values()) > 0
    assert {task: found.metrics[f"accuracy/{task}"] for task in OWN} == pytest.approx(individual)
    assert found.references["experts"] == pytest.approx(individual)
    merged = run_case(Case("simple_average", "tiny", "owned"), session)
    relative = {task: merged.metrics[f"accuracy/{task}"] / individual[task] for task in OWN}
    assert {task: merged.metrics[f"normalized/{task}"] for task in OWN} == pytest.approx(relative)
    assert merged.metrics["normalized/mean"] == pytest.approx(sum(relative.values()) / len(OWN))


@pytest.mark.filterwarnings("ignore:tiny/mine")
def test_where_a_task_has_no_expert_no_mean_is_relative(session: Session) -> None:
    found = run_case(Case("simple_average", "tiny", "mine"), session)
    assert set(found.references["experts"]) == set(OWN)
    normalized = {name for name in found.metrics if name.startswith("normalized/")}
    assert normalized == {f"normalized/{task}" for task in OWN}
    with pytest.raises(FusionBenchError, match="'tiny' has none for first"):
        run_case(Case("experts", "tiny", "mine"), session)


@pytest.mark.filterwarnings("ignore:tiny/unseen")
def test_an_unseen_tasks_expert_is_hidden_from_all_its_tasks(session: Session) -> None:
    found = run_case(Case("simple_average", "tiny", "unseen"), session)
    assert set(found.references["experts"]) == {"overlap"}
    assert session.modelpool(Case("simple_average", "tiny", "unseen")).expert_names == ("code",)


def test_an_expert_below_its_base_is_told_by_name(
    folder: Path, models: dict[str, Any], session: Session, tmp_path: Path
) -> None:
    """Base and expert change places where the expert is the better one."""
    loaded = load_modelpool({**models, "name": "tiny"})
    adapter = taskpool(folder, {"overlap": TASKS["overlap"]}).bind(loaded)
    low, high = sorted(("base", "code"), key=lambda name: evaluate(loaded.model(name), adapter)["overlap"].value)
    paths = {"base": models["base"], **models["experts"]}
    swapped = {**models, "base": paths[high], "experts": {"code": paths[low]}}
    (tmp_path / "modelpool" / "tiny.yaml").write_text(yaml.safe_dump(swapped))
    with pytest.warns(UserWarning, match="tiny/mine: overlap: the expert code scores"):
        session.references(Case("simple_average", "tiny", "mine"))


def test_the_first_name_that_the_pool_has_counts(folder: Path) -> None:
    made = taskpool(folder, {"t": {"task": "tiny_choice", "expert": ["math", "code"]}, "u": {"task": "tiny_match"}})
    assert made.own_experts(["code", "math"]) == {"t": "math"}
    assert made.own_experts(["u", "code", "t"]) == {"t": "code", "u": "u"}
    assert made.own_experts(["t"]) == {"t": "t"}
    assert made.own_experts(["chat"]) == {}


@pytest.mark.parametrize("wrong", [[], "", [""], 3, ["math", None]])
def test_names_that_are_none_are_refused(folder: Path, wrong: Any) -> None:
    with pytest.raises(FusionBenchError, match="expert"):
        taskpool(folder, {"t": {"task": "tiny_choice", "expert": wrong}})


PRESETS = {
    ("lm_core", "llama_3_2_3b_mergebench"): {"gsm8k": "math"},
    ("lm_core", "mistral_7b"): {"gsm8k": "math"},
    ("lm_core", "qwen2_5_0_5b"): {},
}


@pytest.mark.parametrize("names", PRESETS)
def test_what_the_presets_say(names: tuple[str, str]) -> None:
    from fusion_bench.registry import read_config

    tasks, models = names
    assert load_taskpool(tasks).own_experts(list(read_config("modelpool", models)["experts"])) == PRESETS[names]


@pytest.mark.parametrize("models", ["llama_3_2_3b", "llama_3_1_8b", "gemma_2_2b", "gemma_2_9b"])
def test_every_task_of_mergebench_has_an_expert(models: str) -> None:
    from fusion_bench.registry import read_config

    made = load_taskpool("lm_mergebench")
    config = read_config("modelpool", f"{models}_mergebench")
    own = made.own_experts(list(config["experts"]))
    assert set(own) == set(made.tasks)
    assert set(own.values()) == {"math", "multilingual"}
    assert "lm_mergebench" in config["taskpools"]
