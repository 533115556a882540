"""Outcomes that no statistic can be made of are refused, naming run, task and place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.outcomes import (
    check_alternative,
    check_level,
    groupings,
    paired_arrays,
    same_tasks,
    task_arrays,
)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ({}, "no task"),
        ({"a": [1]}, "task a: 1 example"),
        ({"a": []}, "at least two"),
        ({"a": [0, 1, 2]}, "example 2 is 2.0"),
        ({"a": [0, float("nan")]}, "example 1 is nan"),
        ({"a": [[0, 1], [1, 1]]}, r"shape \(2, 2\)"),
        ({"a": ["right", "wrong"]}, "no numbers"),
    ],
)
def test_bad_outcomes(outcomes: dict[str, Any], message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        task_arrays(outcomes, binary=True)


def test_the_run_is_named() -> None:
    with pytest.raises(FusionBenchError, match="task a of ties"):
        task_arrays({"a": [3, 1]}, binary=True, run="ties")


def test_any_number_where_outcomes_are_scaled() -> None:
    assert task_arrays({"a": [0.0, 1.25]}, binary=False)["a"].tolist() == [0.0, 1.25]
    with pytest.raises(FusionBenchError, match="finite"):
        task_arrays({"a": [0.0, float("inf")]}, binary=False)


def test_inputs_are_not_written_to() -> None:
    values = np.array([1.0, 0.0])
    task_arrays({"a": values})["a"] + 1
    assert values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ({"lettres": ["x"] * 4}, "did you mean letters"),
        ({"letters": ["x", "y"]}, r"shape \(2,\) for 4 examples"),
        ({"letters": ["x"] * 4}, "one cluster"),
        ({"letters": np.array(["x", "y", None, "x"], dtype=object)}, "example 2 has no cluster"),
        ({"letters": [1.0, 2.0, 1.0, float("nan")]}, "example 3 has no cluster"),
    ],
)
def test_bad_clusters(clusters: dict[str, Any], message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        groupings(clusters, {"letters": 4})


def test_cluster_sums_in_any_order_of_examples() -> None:
    grouping = groupings({"t": ["b", "a", "b", "c"]}, {"t": 4})["t"]
    assert grouping is not None
    assert grouping.sums(np.array([[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0]])).tolist() == [[2, 5, 8], [1, 2, 1]]


def test_runs_that_cannot_be_paired() -> None:
    with pytest.raises(FusionBenchError, match="same tasks: a, b"):
        paired_arrays({"a": [1, 0]}, {"b": [1, 0]})
    with pytest.raises(FusionBenchError, match="2 and 3 examples"):
        paired_arrays({"a": [1, 0]}, {"a": [1, 0, 1]})


def test_many_runs_that_differ() -> None:
    ok = {"a": np.zeros(3)}
    assert same_tasks([("x", ok), ("y", ok)]) == ("a",)
    with pytest.raises(FusionBenchError, match="y and x share not the same tasks: b"):
        same_tasks([("x", ok), ("y", {**ok, "b": np.zeros(3)})])
    with pytest.raises(FusionBenchError, match="3 examples of x and 2 of y"):
        same_tasks([("x", ok), ("y", {"a": np.zeros(2)})])


def test_bad_options() -> None:
    for level in (0.0, 1.0, 95, float("nan")):
        with pytest.raises(FusionBenchError, match="level"):
            check_level(level)
    with pytest.raises(FusionBenchError, match="did you mean 'less'"):
        check_alternative("les")
