"""A restricted pool: what is hidden cannot be read, what is shown is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusion_bench import load_algorithm, load_modelpool
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools import restricted, whole
from tests.helpers.four_tasks import TASKS, write_four_tasks


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory):
    assets = write_four_tasks(tmp_path_factory.mktemp("four"))
    return load_modelpool({"type": "embedded_clip", "name": "four", "path": str(assets / "models_toy")})


def test_hidden_experts_cannot_be_had(pool) -> None:
    view = restricted(pool, ["dots", "circles"])
    assert view.expert_names == ("circles", "dots")  # the pool's own order
    assert view.names == ("base", "circles", "dots")
    for read in (view.state_dict, view.model):
        for name in ("stripes", "rings", "multitask"):
            with pytest.raises(FusionBenchError):
                read(name)


def test_what_is_shown_is_the_pools_own(pool) -> None:
    view = restricted(pool, ["dots", "circles"])
    assert view.state_dict("dots") is pool.state_dict("dots")
    assert view.model("base") is pool.model("base")
    assert view.owns(pool.model("dots")) == "dots"
    assert torch.equal(view.text_features(["red"]), pool.text_features(["red"]))
    assert (view.image_size, view.mean, view.std, view.logit_scale, view.name, view.content_hash()) == (
        pool.image_size, pool.mean, pool.std, pool.logit_scale, pool.name, pool.content_hash(),
    )  # fmt: skip
    assert view.bytes_held() == pool.bytes_held()


def test_a_fusion_of_a_view_is_that_of_a_pool_that_has_no_other(pool, tmp_path: Path) -> None:
    view = restricted(pool, ["circles", "rings"])
    fused = load_algorithm("task_arithmetic", scaling=0.5).run(view).state_dict()
    base, experts = pool.state_dict("base"), [pool.state_dict(name) for name in ("circles", "rings")]
    for key, value in fused.items():
        start = base[f"visual.{key}"].double()
        expected = start + 0.5 * sum(e[f"visual.{key}"].double() - start for e in experts)
        assert torch.allclose(value.double(), expected, atol=1e-6)


def test_a_saved_model_of_a_view_opens_in_the_pool(pool, tmp_path: Path) -> None:
    view = restricted(pool, ["circles", "rings"])
    view.save(view.model("rings"), tmp_path)
    opened = pool.load_saved(tmp_path).state_dict()
    assert all(torch.equal(opened[key], value) for key, value in pool.model("rings").state_dict().items())


def test_nothing_hidden_is_the_pool_itself_and_views_do_not_nest(pool) -> None:
    assert restricted(pool, TASKS) is pool
    view = restricted(pool, ["circles", "rings"])
    inner = restricted(view, ["rings"])
    assert whole(inner) is whole(view) is whole(pool) is pool
    assert inner.expert_names == ("rings",)
    with pytest.raises(FusionBenchError, match="dots"):
        restricted(view, ["dots"])  # hidden once, hidden for good


def test_an_unknown_expert_is_named_with_the_nearest(pool) -> None:
    with pytest.raises(FusionBenchError, match="did you mean 'circles'"):
        restricted(pool, ["circle"])
