"""Tables and metrics say what the functions found, under the right labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.analysis import (
    cosine_matrix,
    cross_task,
    kinship,
    loss_path,
    sign_conflict,
    singular_spectra,
    subspace_alignment,
    subspace_overlap,
    task_vector_norms,
)
from fusion_bench.analysis import data_views as data
from fusion_bench.analysis import weight_views as weights
from fusion_bench.analysis.ancestry import shuffled
from fusion_bench.analysis.deltas import mean_pair
from fusion_bench.analysis.paths import excess
from fusion_bench.analysis.subject import Subject
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.steps import Steps
from tests.analysis.planted import MATRICES, pool, state


class Pool:
    """State dicts without architecture."""

    def __init__(self, count: int) -> None:
        self.base, self.experts = pool(count)
        self.expert_names, self.has_multitask = tuple(self.experts), True

    def state_dict(self, name: str) -> dict:
        return {"base": self.base, "multitask": state(9, like=self.base), **self.experts}[name]


@pytest.fixture
def subject() -> Subject:
    return Subject(Pool(3), {})


def column(table, label) -> list[float]:
    return [row[table.columns.index(label)] for row in table.values]


def row(table, label) -> list[float]:
    return list(table.values[table.rows.index(label)])


def test_cosines(subject: Subject) -> None:
    found, expected = weights.show_cosines(subject), cosine_matrix(subject.base, subject.experts)
    assert [list(r) for r in found.tables["cosines"].values] == expected.whole.tolist()
    i, j = (expected.names.index(name) for name in ("cars", "svhn"))
    table = found.tables["layers"]
    assert column(table, "cars · svhn") == [matrix[i, j] for matrix in expected.layers.values()]
    assert table.rows == tuple(expected.layers)
    pairs = [expected.whole[0, 1], expected.whole[0, 2], expected.whole[1, 2]]
    assert found.metrics["cosine/smallest"] == min(pairs)
    assert found.metrics["cosine/largest"] == max(pairs)
    assert found.metrics["cosine/mean"] == pytest.approx(np.mean(pairs))


def test_norms(subject: Subject) -> None:
    found, expected = weights.show_norms(subject), task_vector_norms(subject.base, subject.experts)
    table = found.tables["norms"]
    assert row(table, "whole model") == expected.relative.tolist()
    assert row(table, "blocks.1") == (expected.layers["blocks.1"] / expected.base_layers["blocks.1"]).tolist()
    assert found.metrics["relative_norm/svhn"] == column(table, "svhn")[-1]
    assert found.metrics["relative_norm/mean"] == pytest.approx(expected.relative.mean())


def test_signs(subject: Subject) -> None:
    found, expected = weights.show_signs(subject), sign_conflict(subject.base, subject.experts)
    whole = expected.whole
    assert row(found.tables["conflict"], "whole model") == [whole.share, whole.weighted, whole.cancelled]
    assert column(found.tables["conflict"], "cancelled")[:-1] == [c.cancelled for c in expected.layers.values()]
    assert [list(r) for r in found.tables["pairs"].values] == expected.pairs.tolist()
    assert found.metrics["sign_conflict/weighted"] == whole.weighted
    assert "0.750" in found.tables["conflict"].note  # three experts with random signs


def test_spectra(subject: Subject) -> None:
    found, expected = weights.show_spectra(subject), singular_spectra(subject.base, subject.experts)
    effective, stable = expected.effective_ranks(), expected.stable_ranks()
    for i, (name, shape) in enumerate(MATRICES.items()):
        label = found.tables["effective_rank"].rows[i]
        assert label == f"{name}  {shape[0]}×{shape[1]}"
        assert row(found.tables["effective_rank"], label) == pytest.approx(effective[name] / min(shape))
        assert row(found.tables["stable_rank"], label) == pytest.approx(stable[name])
    at, profile = expected.profile()
    assert found.tables["spectrum"].columns == tuple(at)
    assert row(found.tables["spectrum"], "mnist") == profile[expected.names.index("mnist")].tolist()
    shares = [effective[name][2] / min(shape) for name, shape in MATRICES.items()]
    assert found.metrics["effective_rank/svhn"] == pytest.approx(np.mean(shares))
    assert found.metrics["stable_rank/mean"] == pytest.approx(np.mean(list(stable.values())))


def test_subspaces(subject: Subject) -> None:
    found = weights.show_subspaces(subject)
    overlap = subspace_overlap(subject.base, subject.experts)
    alignment = subspace_alignment(subject.base, subject.experts)
    left = np.mean(list(overlap.left.values()), axis=0)
    assert np.array(found.tables["left_overlap"].values) == pytest.approx(left)
    assert found.metrics["overlap/left"] == pytest.approx(mean_pair(left))
    right_chance = np.mean(list(overlap.right_chance.values()), axis=0)
    assert found.metrics["overlap/right_chance"] == pytest.approx(mean_pair(right_chance))
    merged = np.mean(list(alignment.merged.values()), axis=0)
    table = found.tables["alignment"]
    assert column(table, "sum of all") == pytest.approx(merged)
    pairs = np.mean(list(alignment.pairs.values()), axis=0)
    assert row(table, "mnist")[:-1] == pytest.approx(pairs[1])
    assert found.metrics["alignment/mean"] == pytest.approx(merged.mean())
    assert found.metrics["alignment/chance"] == pytest.approx(np.mean(list(alignment.merged_chance.values())))


def test_kinship(subject: Subject) -> None:
    models = {**subject.experts, "multitask": subject.pool.state_dict("multitask")}
    expected = kinship(models, {"base": subject.base, **models, "stranger": shuffled(subject.base)})
    found = weights.show_kinship(subject)
    distance, ancestor = found.tables["distance"], found.tables["ancestor"]
    assert distance.rows == ("cars", "mnist", "svhn", "multitask")
    assert distance.columns == ancestor.rows == ("base", *distance.rows, "stranger")
    assert np.array(distance.values) == pytest.approx(expected.distance)
    assert column(ancestor, "mean cosine") == pytest.approx(expected.offset)
    assert column(ancestor, "mean distance") == pytest.approx(expected.distance.mean(axis=0))
    assert found.metrics["distance/mnist"] == pytest.approx(expected.distance[1, 0])
    assert found.metrics["offset/base"] == pytest.approx(expected.offset[0])
    assert found.metrics["offset/stranger"] == pytest.approx(expected.offset[-1])


@pytest.mark.parametrize("show", [getattr(weights, name) for name in dir(weights) if name.startswith("show_")])
def test_one_expert_and_one_that_never_moved_are_shown_in_numbers(show) -> None:
    alone, still = Pool(1), Pool(2)
    still.experts["mnist"] = still.base
    for asked in (alone, still):
        found = show(Subject(asked, {}))
        assert found.tables
        assert np.isfinite(list(found.metrics.values())).all()


@pytest.fixture
def real(toy_assets) -> Subject:
    pool = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})
    path = str(toy_assets / "tasks_toy")
    tasks = load_taskpool({"type": "zero_shot_classification", "path": path, "tasks": ["stripes", "circles"]})
    return Subject(pool, tasks.bind(pool))


def test_cross_task(real: Subject) -> None:
    found, expected = data.show_cross_task(real), cross_task(real.pool, real.adapters)
    base = expected.row("base")
    for name in ("circles", "stripes", "multitask"):
        assert row(found.tables["accuracy"], name) == pytest.approx(100 * expected.row(name))
        assert row(found.tables["change"], name) == pytest.approx(100 * (expected.row(name) - base))
    assert any(value for values in found.tables["change"].values for value in values)
    assert found.metrics["accuracy/base"] == pytest.approx(base.mean())
    assert found.metrics["accuracy/multitask"] == pytest.approx(expected.row("multitask").mean())
    assert found.metrics["accuracy/elsewhere"] == pytest.approx(np.mean(list(expected.elsewhere().values())))


def test_the_type_that_models_were_evaluated_in_is_told_where_it_is_not_the_usual_one(real: Subject) -> None:
    coarse = dataclasses.replace(real, steps=Steps("bfloat16"))
    assert data.show_cross_task(coarse).options == {"precision": "bfloat16"}
    assert data.show_paths(coarse).options["precision"] == "bfloat16"
    assert data.show_cross_task(dataclasses.replace(real, steps=Steps())).options == {}
    assert "precision" not in data.show_paths(real).options


def test_paths(real: Subject) -> None:
    found = data.show_paths(real)
    one = loss_path(real.pool, real.adapters, "base", "stripes", tasks=["stripes"], points=data.FROM_BASE_POINTS)
    assert row(found.tables["loss"], "stripes") == pytest.approx(one.loss)
    assert row(found.tables["accuracy"], "stripes") == pytest.approx(one.accuracy)
    assert found.tables["loss"].columns == tuple(one.t)
    assert found.metrics["barrier/stripes"] == pytest.approx(one.barrier)
    both = loss_path(real.pool, real.adapters, "circles", "stripes", points=data.BETWEEN_POINTS)
    middle = excess(both.t, both.loss)[list(both.t).index(0.5)]
    assert np.array(found.tables["barriers"].values) == pytest.approx(both.barrier * (1 - np.eye(2)))
    assert np.array(found.tables["middle"].values) == pytest.approx(middle * (1 - np.eye(2)))
    assert middle
    assert found.metrics["excess/experts_middle"] == pytest.approx(middle)
    assert found.metrics["barrier/experts_largest"] == pytest.approx(both.barrier)
    assert found.data_access == "labels (validation)"
