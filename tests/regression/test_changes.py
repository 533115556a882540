"""What is not the same as when a baseline was made, named in the order in which a person looks at it."""

from __future__ import annotations

import dataclasses

import pytest

from fusion_bench.regression import from_result
from fusion_bench.regression.changes import changed_data, changed_plugins, changes, commit_range, same_environment
from tests.helpers.results import make_result, right


def measured(**options):
    return from_result(make_result(**options), date="2026-11-25")


def test_nothing_changed_is_no_line() -> None:
    assert changes(measured(), measured()) == []


def test_each_thing_has_a_line_options_first_and_commits_last() -> None:
    now = measured(config={"algorithm": {"scaling": 0.4}}, machine="other", commit="beef01+", data={"a": "x", "b": "d"})
    now = dataclasses.replace(now, versions={"torch": "2.15", "numpy": "2"}, deterministic=False)
    assert changes(measured(), now) == [
        "algorithm.scaling: 0.3 → 0.4",
        "the examples of a are others",
        "deterministic: True → False",
        "torch 2.14 → 2.15",
        "numpy absent → 2",
        "machine: m → other",
        "commits: git log --oneline c0ffee..beef01 -- fusion_bench, and changes that are not committed",
    ]


def test_a_new_task_is_no_changed_one() -> None:
    correct = {"a": right(400, 0.75), "b": right(300, 0.5), "c": right(20, 0.5)}
    now = measured(correct=correct)
    assert changed_data(measured(), now) == []
    assert changes(measured(), now) == ["the task c is new"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"mine": "aa"}, {"mine": "aa"}, {}),
        ({"mine": "aa, commit 1"}, {"mine": "bb, commit 2+"}, {"mine": "aa, commit 1 → bb, commit 2+"}),
        ({}, {"mine": "bb"}, {"mine": "bb; the baseline does not say what it was"}),
        ({"mine": "aa"}, {}, {"mine": "aa, and is not run any more"}),
    ],
)
def test_the_users_own_code(old, new, said) -> None:
    pair = measured(plugins=old), measured(plugins=new)
    assert changed_plugins(*pair) == said
    assert changes(*pair) == [f"your own code {name}: {what}" for name, what in said.items()]


def test_own_code_and_our_version_are_no_other_environment() -> None:
    old = dataclasses.replace(measured(), versions={"torch": "2", "fusion-bench-suite": "0.1"})
    new = dataclasses.replace(measured(plugins={"mine": "x"}), versions={"torch": "2", "fusion-bench-suite": "0.2"})
    assert same_environment(old, new)
    assert not same_environment(old, dataclasses.replace(new, versions={"torch": "2.1"}))
    assert not same_environment(old, dataclasses.replace(new, machine="other"))


def test_commits_that_cannot_be_looked_up_are_said() -> None:
    assert "installed package" in commit_range("", "c0ffee")
    assert commit_range("c0ffee+", "beef01").endswith("c0ffee..beef01 -- fusion_bench")
