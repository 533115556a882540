from __future__ import annotations

import dataclasses

from fusion_bench.report.page.groups import grouped, split_notes
from tests.report.page.made_runs import World, made_run


def test_runs_on_other_examples_or_other_tasks_are_never_together(world):
    said = world.predictions(0.5)
    same = [made_run("a", said), made_run("b", said)]
    other_data = made_run("a", said, data="changed")
    fewer_tasks = made_run("c", {task: said[task] for task in ("mnist", "letters")})
    other_pool = made_run("a", said, pools=("other", "up4"))

    groups, notes = grouped([*same, other_data, fewer_tasks, other_pool])

    assert sorted(sorted(run.label for run in group.runs) for group in groups) == [["a"], ["a"], ["a", "b"], ["c"]]
    assert not notes
    assert list(split_notes(groups)) == ["made/up4"]
    assert "3 different sets of examples" in split_notes(groups)["made/up4"]


def test_the_newest_of_each_method_counts_whatever_the_order(world):
    runs = [made_run("a", world.predictions(0.1 * night), night=night) for night in (2, 5, 3)]
    (group,), _ = grouped(runs)
    assert [run.started.day for run in group.runs] == [10, 8, 7]
    assert group.newest["a"] is runs[1]


def test_a_run_that_does_not_say_what_it_saw_is_named_and_left_out(world):
    silent = dataclasses.replace(made_run("a", world.predictions(0.5)), data={"mnist": "1"})
    groups, (note,) = grouped([silent])
    assert not groups
    assert silent.run_id[:8] in note
    assert "fashion, animals, letters" in note


def test_a_result_with_odd_parts_is_named_and_left_out():
    good = made_run("good", World(size=10).predictions(0.5))
    odd = {"references": {"experts": [1]}, "search": [], "interval": ["x", 1], "data_access": "weights"}
    odd["reference_measures"] = {"experts": {"rmse/mnist": "small"}}
    runs = []
    for name, value in odd.items():
        run = made_run(name, World(size=10).predictions(0.5))
        runs.append(dataclasses.replace(run, result={**run.result, name: value}))
    groups, notes = grouped([*runs, good])
    assert [run.label for group in groups for run in group.runs] == ["good"]
    assert all(any(f"no proper {name}" in note for note in notes) for name in odd)


def test_the_board_with_most_methods_comes_first(world):
    said = world.predictions(0.5)
    small = [made_run(name, said, night=9, pools=("new", "up4")) for name in "ab"]
    large = [made_run(name, said, night=1) for name in "abc"]
    alone = made_run("z", said, night=8, data="stray")
    groups, _ = grouped([*small, *large, alone])
    assert [(group.experiment, len(group.runs)) for group in groups] == [
        ("made/up4", 3),
        ("made/up4", 1),
        ("new/up4", 2),
    ]
