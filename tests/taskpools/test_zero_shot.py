"""Zero-shot tasks: heads, splits, evaluation that is deterministic and shares what it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fusion_bench.errors import FusionBenchError
from fusion_bench.models.ensemble import Ensemble, TaskRouted
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import LogitCache, evaluate


@pytest.fixture
def pool(toy_assets: Path):
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


@pytest.fixture
def tasks(toy_assets: Path):
    return load_taskpool(
        {"type": "zero_shot_classification", "path": str(toy_assets / "tasks_toy"), "tasks": ["circles", "stripes"]}
    )


def test_the_head_is_the_mean_of_unit_prompt_features(pool, tasks) -> None:
    adapter = tasks.bind(pool)["circles"]
    first = pool.text_features([f"a picture of {c}" for c in adapter.classes])
    second = pool.text_features(list(adapter.classes))
    assert torch.allclose(adapter.head, F.normalize((first + second) / 2, dim=-1), atol=1e-6)


def test_logits_are_scaled_cosines(pool, tasks) -> None:
    adapter = tasks.bind(pool)["stripes"]
    batch = next(iter(adapter.inputs("test")))
    model = pool.model("stripes")
    with torch.no_grad():
        cosine = F.cosine_similarity(model(batch)[:, None], adapter.head[None], dim=-1)
        assert torch.allclose(adapter.logits(model, batch), pool.logit_scale * cosine, atol=1e-4)


def test_adaptation_has_inputs_and_no_labels(pool, tasks) -> None:
    adapter = tasks.bind(pool)["circles"]
    assert sum(len(batch) for batch in adapter.inputs("adaptation")) == adapter.size("adaptation") == 24
    with pytest.raises(FusionBenchError, match="no labels"):
        adapter.labels("adaptation")


def test_pictures_arrive_standardised(pool, tasks, toy_assets: Path) -> None:
    from fusion_bench.datasets import open_split

    adapter = tasks.bind(pool)["stripes"]
    picture = np.asarray(open_split(toy_assets / "tasks_toy" / "stripes", "test").picture(5).convert("RGB"))
    expected = (torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255 - 0.3) / 0.4
    assert torch.allclose(torch.cat(list(adapter.inputs("test")))[5], expected)


def test_evaluation_is_deterministic_and_independent_of_order(pool, tasks) -> None:
    adapters = tasks.bind(pool)
    together = evaluate(pool.model("circles"), adapters)
    alone = evaluate(pool.model("circles"), adapters, tasks=["stripes"])
    assert np.array_equal(together["stripes"].loss, alone["stripes"].loss)
    assert together["stripes"].value == pytest.approx(
        (together["stripes"].prediction == together["stripes"].label).mean()
    )


def test_a_routed_model_is_evaluated_on_its_own_variant(pool, tasks) -> None:
    adapters = tasks.bind(pool)
    routed = evaluate(TaskRouted({t: pool.model(t) for t in ("circles", "stripes")}), adapters)
    for task in ("circles", "stripes"):
        assert np.array_equal(routed[task].loss, evaluate(pool.model(task), adapters, tasks=[task])[task].loss)


def test_ensembles_share_the_logits_of_the_pools_own_models(pool, tasks) -> None:
    adapters = tasks.bind(pool)
    members = {name: pool.model(name) for name in pool.expert_names}
    names = {id(model): name for name, model in members.items()}
    cache = LogitCache(lambda model: names.get(id(model)))
    alone = evaluate(Ensemble(members), adapters)
    calls = 0

    def counted(*_: object) -> None:
        nonlocal calls
        calls += 1

    hooks = [model.register_forward_hook(counted) for model in members.values()]
    first = evaluate(Ensemble(members), adapters, cache=cache)
    once, again = calls, evaluate(Ensemble(members), adapters, cache=cache)
    assert calls == once > 0  # the second time no model was run
    assert cache.bytes_held() == 4 * sum(
        len(members) * adapters[t].size("test") * len(adapters[t].classes) for t in adapters
    )
    evaluate(Ensemble(members), adapters, cache=cache, device="cpu:0")
    assert calls == 2 * once  # another device rounds in its own way
    for hook in hooks:
        hook.remove()
    for found in (first, again):
        assert np.array_equal(found["circles"].loss, alone["circles"].loss)


def test_an_ensemble_of_one_predicts_as_its_member(pool, tasks) -> None:
    adapters = tasks.bind(pool)
    one = evaluate(Ensemble({"circles": pool.model("circles")}), adapters)
    assert np.allclose(one["circles"].loss, evaluate(pool.model("circles"), adapters)["circles"].loss, atol=1e-5)


def test_unknown_tasks_and_bad_templates(toy_assets: Path, pool, tasks) -> None:
    path = str(toy_assets / "tasks_toy")
    with pytest.raises(FusionBenchError, match="did you mean 'circles'"):
        load_taskpool({"type": "zero_shot_classification", "path": path, "tasks": ["circle"]})
    with pytest.raises(FusionBenchError, match="every template needs"):
        load_taskpool({"type": "zero_shot_classification", "tasks": {"a": {"data": path, "templates": ["x"]}}})
    with pytest.raises(FusionBenchError, match="did you mean 'stripes'"):
        evaluate(pool.model("base"), tasks.bind(pool), tasks=["stripe"])


def test_a_task_may_be_named_in_the_yaml_alone(toy_assets: Path, pool) -> None:
    data = str(toy_assets / "tasks_toy" / "stripes")
    tasks = load_taskpool({"type": "zero_shot_classification", "tasks": {"mine": {"data": data}}})
    adapter = tasks.bind(pool)["mine"]
    assert adapter.classes == ("red", "blue")
    assert len(evaluate(pool.model("base"), {"mine": adapter})["mine"].label) == 24


def test_a_hub_data_set_that_is_not_here_says_what_would_fetch_it(pool) -> None:
    tasks = load_taskpool({"type": "zero_shot_classification", "tasks": {"far": {"data": "nobody/nothing-here"}}})
    with pytest.raises(FusionBenchError, match="fusion_bench pools fetch"):
        tasks.bind(pool)["far"].size("test")


def test_clusters_are_those_of_the_data_and_none_where_it_has_none(pool, tasks, toy_assets: Path) -> None:
    adapter = tasks.bind(pool)["circles"]
    assert adapter.clusters("test").tolist() == [f"g{i}" for i in range(24)]
    import pyarrow.parquet as pq

    bare = toy_assets.parent / "bare" / "stripes"
    bare.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(toy_assets / "tasks_toy" / "stripes" / "test.parquet")
    pq.write_table(table.drop_columns(["cluster"]), bare / "test.parquet")
    without = load_taskpool({"type": "zero_shot_classification", "tasks": {"mine": {"data": str(bare)}}})
    assert without.bind(pool)["mine"].clusters("test") is None


def test_a_picture_is_the_one_of_the_data_and_others_are_refused(pool, tasks, toy_assets: Path) -> None:
    from fusion_bench.datasets import open_split

    adapter = tasks.bind(pool)["stripes"]
    expected = open_split(toy_assets / "tasks_toy" / "stripes", "validation").picture(3)
    assert np.array_equal(np.asarray(adapter.picture("validation", 3)), np.asarray(expected))
    for index in (-1, 24):
        with pytest.raises(FusionBenchError, match="it has 24, counted from 0"):
            adapter.picture("validation", index)


def test_a_task_without_pictures_says_so() -> None:
    from fusion_bench.taskpools.base import TaskAdapter

    class Words(TaskAdapter):
        task, classes = "words", ("a", "b")
        size = inputs = labels = logits = data_hash = None  # type: ignore[assignment]

    assert Words().clusters("test") is None
    assert Words().conditions("test") is None
    with pytest.raises(FusionBenchError, match="'words' cannot be shown"):
        Words().picture("test", 0)


@pytest.mark.parametrize("size", [(500, 333), (333, 500), (40, 57), (224, 224), (225, 224)])
def test_pictures_are_what_the_processor_of_clip_makes(size: tuple[int, int]) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPImageProcessorPil

    from fusion_bench.datasets.sizing import preprocess

    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    mine = preprocess(picture, 224).astype(np.float32)
    slow = np.asarray(CLIPImageProcessorPil(do_normalize=False)(images=picture)["pixel_values"][0]) * 255
    np.testing.assert_allclose(mine, slow, atol=1e-3)
    fast = CLIPImageProcessor(do_normalize=False)(images=picture, return_tensors="pt")["pixel_values"][0].numpy() * 255
    assert np.abs(mine - fast).max() < 1.001
    assert (np.abs(mine - fast) > 0.5).mean() < 0.02
