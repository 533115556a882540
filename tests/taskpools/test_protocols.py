"""Protocols as pure functions: which trials there are, which examples they may look at, which means are reported."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.protocols import Group, Outcome, Protocol, Standard, Trial, read_protocol
from fusion_bench.taskpools.protocols.few_shot import FewShot
from fusion_bench.taskpools.protocols.growing import Growing
from fusion_bench.taskpools.protocols.sensitivity import Sensitivity
from fusion_bench.taskpools.protocols.unseen import Unseen

ABCD = ("a", "b", "c", "d")


def outcomes(protocol, accuracy, tasks=ABCD, normalized=None) -> list[Outcome]:
    """An outcome for each trial, its accuracies by ``accuracy(trial, task)``."""
    return [
        Outcome(
            trial,
            {},
            0,
            {task: accuracy(trial, task) for task in trial.tasks},
            {task: normalized(trial, task) for task in trial.tasks} if normalized else {},
        )
        for trial in protocol.trials(tasks, tasks)
    ]


def logged(protocol, found: list[Outcome]) -> dict[str, float]:
    return {name: value for group in protocol.groups(found) for name, value in group.metrics().items()}


@pytest.mark.parametrize("protocol", [Standard(), Growing(), FewShot(), Sensitivity(), Unseen(unseen=("b",))])
def test_what_holds_for_every_protocol(protocol) -> None:
    trials = protocol.trials(ABCD, ABCD)
    assert trials == protocol.trials(ABCD, ABCD)
    assert len({trial.name for trial in trials}) == len(trials)
    main = trials[0]
    assert main.tasks == ABCD
    assert main.split == "test"
    for trial in trials:
        assert set(trial.experts) <= set(main.experts)
        assert set(trial.chosen_on) <= set(ABCD)
        assert trial.tasks


def test_every_example_may_be_looked_at_without_a_budget() -> None:
    assert Trial("t", (), (), ()).examples("a", np.array([2, 0, 2])).tolist() == [0, 1, 2]


def test_a_budget_is_k_of_each_class_or_all_of_a_small_one_and_small_budgets_lie_in_large_ones() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 5], [40, 3, 12]))
    taken = {
        k: Trial("t", (), (), (), shots=k, seed=4, draw=2).examples("a", labels).tolist() for k in (1, 2, 5, 10, 99)
    }
    for k, rows in taken.items():
        assert Counter(labels[rows].tolist()) == {0: min(k, 40), 1: min(k, 3), 5: min(k, 12)}
        assert rows == sorted(set(rows))
    for small, large in itertools.pairwise(taken.values()):
        assert set(small) < set(large)


@pytest.mark.parametrize("change", [{"seed": 1}, {"draw": 1}, {"task": "b"}])
def test_a_draw_depends_on_seed_draw_and_task(change: dict) -> None:
    labels = np.repeat(np.arange(6), 50)

    def drawn(task: str = "a", **fields: int) -> list[int]:
        return Trial("t", (), (), (), **{"shots": 5, "seed": 0, "draw": 0, **fields}).examples(task, labels).tolist()

    assert drawn() == drawn()
    assert drawn() != drawn(**change)


def test_the_examples_of_a_class_do_not_depend_on_other_classes() -> None:
    first = np.array([0] * 30 + [1] * 30)
    second = np.array([0] * 30 + [1] * 10 + [2] * 20)
    rows = [Trial("t", (), (), (), shots=4).examples("a", labels) for labels in (first, second)]
    assert rows[0][first[rows[0]] == 0].tolist() == rows[1][second[rows[1]] == 0].tolist()


def test_every_example_is_drawn_equally_often() -> None:
    labels = np.zeros(8, dtype=int)
    counts = Counter(
        index
        for draw in range(2000)
        for index in Trial("t", (), (), (), shots=2, draw=draw).examples("a", labels).tolist()
    )
    expected, spread = 2000 * 2 / 8, math.sqrt(2000 * (2 / 8) * (6 / 8))
    assert set(counts) == set(range(8))
    assert max(abs(count - expected) for count in counts.values()) < 4 * spread


def test_no_label_no_example() -> None:
    assert Trial("t", (), (), (), shots=3).examples("a", np.array([], dtype=int)).tolist() == []


def test_unseen_tasks_have_no_expert_and_choose_nothing() -> None:
    (trial,) = Unseen(unseen=("b", "d")).trials(ABCD, (*ABCD, "more"))
    assert trial == Trial("main", ("a", "c", "more"), ABCD, ("a", "c"))


def test_seen_and_unseen_means_are_apart() -> None:
    protocol = Unseen(unseen=("b", "d"))
    scores = {"a": 0.9, "b": 0.2, "c": 0.5, "d": 0.6}
    found = outcomes(protocol, lambda trial, task: scores[task])
    assert logged(protocol, found) == pytest.approx({"accuracy/seen_mean": 0.7, "accuracy/unseen_mean": 0.4})
    (main,) = found
    own = Outcome(main.trial, {}, 0, main.accuracy, {"a": 1.0, "c": 0.5})  # no unseen expert to divide by
    assert logged(protocol, [own])["normalized/seen_mean"] == pytest.approx(0.75)


def test_unseen_tasks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FusionBenchError, match=r"(?s)'leters'.*unseen.*did you mean 'letters'"):
        Unseen(unseen=("leters",)).trials(("letters", "mnist"), ("letters", "mnist"))
    with pytest.raises(FusionBenchError, match="no task and expert is left"):
        Unseen(unseen=ABCD).trials(ABCD, ABCD)


def test_all_subsets_where_they_are_few_and_each_on_its_own_tasks() -> None:
    trials = Growing(subsets=6).trials(ABCD, ABCD)
    assert trials[0].experts == ABCD
    by_size = {size: {t.experts for t in trials if t.group == f"{size}_tasks"} for size in (2, 3, 4)}
    assert by_size == {size: set(itertools.combinations(ABCD, size)) for size in (2, 3, 4)}
    assert all(t.experts == t.tasks == t.chosen_on for t in trials)


def test_drawn_subsets_are_different_ones_and_depend_on_the_seed_alone() -> None:
    names = tuple("abcdefgh")
    first, again, other = (Growing(subsets=8, seed=s).trials(names, names) for s in (0, 0, 1))
    assert first == again != other
    counts = Counter(trial.group for trial in first)
    assert counts == {**{f"{m}_tasks": 8 for m in range(2, 8)}, "8_tasks": 1}
    assert len({trial.experts for trial in first}) == len(first)
    less = Growing(sizes=(3,), subsets=8).trials(names, names)  # a size's draw does not depend on other sizes
    assert {t.experts for t in less if t.group == "3_tasks"} == {t.experts for t in first if t.group == "3_tasks"}


def test_every_subset_is_drawn_equally_often() -> None:
    names, draws = tuple("abcde"), 1500
    counts = Counter(
        trial.experts
        for seed in range(draws)
        for trial in Growing(sizes=(2,), subsets=3, seed=seed).trials(names, names)
        if len(trial.experts) == 2
    )
    assert len(counts) == 10
    expected, spread = draws * 0.3, math.sqrt(draws * 0.3 * 0.7)
    assert max(abs(count - expected) for count in counts.values()) < 4 * spread


def test_mean_and_spread_over_subsets() -> None:
    protocol = Growing(sizes=(3, 4), subsets=4)
    value = dict(zip(ABCD, (0.1, 0.2, 0.3, 0.4), strict=True))
    found = outcomes(protocol, lambda trial, task: value[task] / len(trial.tasks), normalized=lambda t, k: 1.0)
    means = [sum(value[t] for t in subset) / 9 for subset in itertools.combinations(ABCD, 3)]
    metrics = logged(protocol, found)
    assert metrics["accuracy/3_tasks_mean"] == pytest.approx(np.mean(means))
    assert metrics["accuracy/3_tasks_std"] == pytest.approx(np.std(means, ddof=1))
    assert metrics["accuracy/3_tasks_min"] == pytest.approx(min(means))
    assert metrics["accuracy/3_tasks_max"] == pytest.approx(max(means))
    assert metrics["accuracy/4_tasks_mean"] == pytest.approx(sum(value.values()) / 16)
    assert "accuracy/4_tasks_std" not in metrics  # one subset has no spread
    assert metrics["normalized/3_tasks_mean"] == 1


def test_a_pool_with_tasks_of_no_expert_keeps_them_out_of_the_subsets() -> None:
    trials = Growing(subsets=10).trials(ABCD, ("a", "b", "c", "z"))
    assert (trials[0].experts, trials[0].tasks, trials[0].group) == (("a", "b", "c", "z"), ABCD, "main")
    assert {t.experts for t in trials[1:]} == {("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")}
    with pytest.raises(FusionBenchError, match="subsets of 5 experts of 4"):
        Growing(sizes=(5,)).trials(ABCD, ABCD)


OWN = {"a": "x", "b": "x", "c": "y"}  # two tasks of one expert, one of another, and d of none


def test_a_subset_of_experts_is_evaluated_on_all_their_tasks() -> None:
    trials = Growing(sizes=(1, 2)).trials(ABCD, ("z", "y", "x"), OWN)
    assert {t.experts: t.tasks for t in trials[1:]} == {("x",): ("a", "b"), ("y",): ("c",), ("y", "x"): ("c", "a", "b")}
    assert trials[0].group == "main"
    (whole, *_) = Growing(sizes=(2,)).trials(("a", "b", "c"), ("x", "y"), OWN)
    assert (whole.group, whole.tasks) == ("2_tasks", ("a", "b", "c"))


def test_the_expert_of_an_unseen_task_is_hidden_whatever_its_name() -> None:
    (trial,) = Unseen(unseen=("b",)).trials(ABCD, ("x", "y", "b"), OWN)
    assert (trial.experts, trial.chosen_on) == (("y",), ("a", "c", "d"))


@pytest.mark.parametrize("protocol", [Standard(), FewShot(shots=(1,), draws=1), Sensitivity()])
def test_where_all_experts_are_given_it_does_not_matter_whose_a_task_is(protocol: Protocol) -> None:
    assert protocol.trials(ABCD, ("x", "y"), OWN) == protocol.trials(ABCD, ("x", "y"))


def test_mean_and_spread_over_draws() -> None:
    protocol = FewShot(shots=(1, 5), draws=3)
    found = outcomes(protocol, lambda trial, task: 0.5 if trial.shots is None else 0.1 * trial.draw + trial.shots / 100)
    metrics = logged(protocol, found)
    assert metrics["accuracy/5_shot_mean"] == pytest.approx(0.15)
    assert metrics["accuracy/1_shot_std"] == pytest.approx(0.1)
    assert metrics["accuracy/all_shots_mean"] == 0.5
    assert {key.split("_shot")[0] for key in metrics} == {"accuracy/1", "accuracy/5", "accuracy/all"}


def test_losses_are_those_of_their_definitions() -> None:
    protocol = Sensitivity()
    rng = np.random.default_rng(0)
    table = {(t.name, task): rng.random() for t in protocol.trials(ABCD, ABCD) for task in t.tasks}
    metrics = logged(protocol, outcomes(protocol, lambda trial, task: table[trial.name, task]))
    own = {task: table["main", task] for task in ABCD}
    left_out = [own[t] - table[f"all but {t}", t] for t in ABCD]
    alone = [np.mean([own[t] - table[f"only {s}", t] for t in ABCD if t != s]) for s in ABCD]
    written = [own[t] - table["as written", t] for t in ABCD]
    assert metrics == pytest.approx({
        "lost/leave_one_out_mean": np.mean(left_out),
        "lost/one_task_mean": np.mean(alone),
        "lost/one_task_max": max(alone),
        "lost/as_written_mean": np.mean(written),
        "accuracy/all_tasks_mean": np.mean(list(own.values())),
        "accuracy/leave_one_out_mean": np.mean([table[f"all but {t}", t] for t in ABCD]),
        "accuracy/one_task_mean": np.mean([np.mean([table[f"only {s}", t] for t in ABCD if t != s]) for s in ABCD]),
        "accuracy/as_written_mean": np.mean([table["as written", t] for t in ABCD]),
    })  # fmt: skip


def test_no_task_chooses_for_itself() -> None:
    for trial in Sensitivity().trials(ABCD, ABCD)[1:]:
        assert not set(trial.chosen_on) & set(trial.tasks)
    with pytest.raises(FusionBenchError, match="only one"):
        Sensitivity().trials(("a",), ("a",))


def test_statistics_of_a_group() -> None:
    group = Group("lost", "g", (1.0, 2.0, 6.0), statistics=("mean", "std", "min", "max"))
    assert group.metrics() == {
        "lost/g_mean": 3.0, "lost/g_std": pytest.approx(math.sqrt(7)), "lost/g_min": 1.0, "lost/g_max": 6.0,
    }  # fmt: skip
    assert Group("lost", "g", (), statistics=("mean", "std", "max")).metrics() == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "growin"}, "did you mean 'growing'"),
        ({"type": "growing", "subset": 3}, "did you mean 'subsets'"),
        ({"type": "few_shot", "shots": [0]}, "greater than or equal to 1"),
        ({"type": "few_shot", "shots": []}, "at least 1 item"),
        ({"type": "unseen", "unseen": []}, "at least 1 item"),
        ({"type": "unseen"}, "unseen"),
        ({"unseen": ["a"]}, "give it a type"),
        ("growing", "give it a type"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused_with_its_place(config: object, message: str) -> None:
    with pytest.raises(FusionBenchError, match=message) as caught:
        read_protocol(config, where="task pool 'mine'")  # type: ignore[arg-type]
    assert "task pool 'mine'" in str(caught.value)


def test_without_a_protocol_there_is_one_trial() -> None:
    assert read_protocol(None, where="x").trials(ABCD, ABCD) == (Trial("main", ABCD, ABCD, ABCD),)
