"""Bugs planted in the real thing, on the embedded pool: each is caught, and the part that has it is named.

Each verdict is asked for twice: on the machine of the baseline, where nothing may turn, and as if another machine had
run the case, where only what is beyond rounding, or significantly worse, counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from fusion_bench.algorithms import dare_task_arithmetic
from fusion_bench.cases import Case, Session, run_case
from fusion_bench.modelpools.embedded_clip import EmbeddedClip
from fusion_bench.regression import Baseline, Settings, Verdict, from_result, judge, message
from fusion_bench.taskpools.zero_shot import ImageTask
from fusion_bench.weights import election

TASKS = ("mnist", "letters", "hangul")
OVERRIDES = (f"taskpool.tasks=[{','.join(TASKS)}]",)
SCALING = "algorithm.scaling=0.3"
CASES = {
    "ties": Case("ties", "clip_mini", "mini8", (*OVERRIDES, SCALING)),
    "dare": Case("dare_task_arithmetic", "clip_mini", "mini8", (*OVERRIDES, SCALING)),
    "average": Case("simple_average", "clip_mini", "mini8", OVERRIDES),
    "weighted": Case("weighted_average", "clip_mini", "mini8", OVERRIDES),
}


def measure(name: str) -> Baseline:
    """The case as the code is this moment, in a session that shares nothing with another."""
    with Session(tracking_uri="") as session:
        return from_result(run_case(CASES[name], session).to_dict(), date="2026-01-01")


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Baseline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return {name: measure(name) for name in CASES}


@pytest.fixture
def verdicts(baselines: dict[str, Baseline]) -> Callable[[str], tuple[Verdict, Verdict]]:
    """Of a case measured now: here, and as another machine's."""

    def of(name: str) -> tuple[Verdict, Verdict]:
        now = measure(name)
        there = dataclasses.replace(now, machine="another")
        settings = Settings(fusion_seconds=1e9)  # costs are not what is planted here
        return tuple(judge(baselines[name], b, settings, cases=60) for b in (now, there))  # type: ignore[return-value]

    return of


def caught(found: tuple[Verdict, Verdict], *words: str) -> None:
    for verdict in found:
        assert verdict.fails, verdict
        text = message(verdict)
        assert verdict.case in text
        for word in words:
            assert word in verdict.diagnosis, text
    assert found[1].status == "worse" or "rounding may turn" in message(found[1]) or "model moved" in message(found[1])


def test_nothing_planted(verdicts) -> None:
    for name in CASES:
        assert [verdict.status for verdict in verdicts(name)] == ["as before", "as before"]


def test_sign_election_inverted(verdicts, monkeypatch) -> None:
    def inverted(vectors, piece, weights, combine="mean", undecided=0.0):
        entries = torch.stack([vectors.entries(piece, at) for at in range(len(vectors.models))])
        agrees = entries.sign() * -entries.sum(dim=0).sign() > 0
        merged = torch.where(agrees, entries, 0.0).sum(dim=0) / agrees.sum(dim=0).clamp(min=1)
        return election.Elected(merged, 0, False)

    monkeypatch.setattr(election, "elected", inverted)
    caught(verdicts("ties"), "the method ties")


def test_dare_without_rescaling(verdicts, monkeypatch) -> None:
    thinned = dare_task_arithmetic.thinned
    monkeypatch.setattr(
        dare_task_arithmetic,
        "thinned",
        lambda scan, **options: dataclasses.replace(thinned(scan, **options), factors=None),
    )
    caught(verdicts("dare"), "the method dare_task_arithmetic")


def test_a_prompt_template_dropped_from_the_text_head(verdicts, monkeypatch) -> None:
    def head(self):
        template = self._config.templates[0]
        return F.normalize(self._pool.text_features([template.format(c) for c in self.classes]), dim=-1)

    monkeypatch.setattr(ImageTask, "head", property(head))
    caught(verdicts("average"), "the base model itself moved")


def test_pictures_not_normalised(verdicts, monkeypatch) -> None:
    for name, value in (("mean", 0.0), ("std", 1.0)):
        constant = property(lambda self, value=value: (value,) * 3, lambda self, given: None)
        monkeypatch.setattr(EmbeddedClip, name, constant, raising=False)
    caught(verdicts("average"), "how pictures reach the model", *TASKS)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_scaling_off_by_a_tenth(verdicts, monkeypatch, factor) -> None:
    from fusion_bench.algorithms.ties import Ties

    monkeypatch.setattr(Ties, "step_size", property(lambda self: factor * self.scaling))
    caught(verdicts("ties"), "the method ties")


def test_scaling_changed_in_the_yaml(baselines) -> None:
    case = dataclasses.replace(CASES["ties"], overrides=(*OVERRIDES, "algorithm.scaling=0.33"))
    with Session(tracking_uri="") as session:
        result = {**run_case(case, session).to_dict(), "case": baselines["ties"].case}
    verdict = judge(baselines["ties"], from_result(result, date="2026-01-01"), Settings())
    assert verdict.fails
    assert "the options: algorithm.scaling" in verdict.diagnosis
    assert "algorithm.scaling: 0.3 → 0.33" in message(verdict)


def test_labels_of_one_task_shifted(verdicts, monkeypatch) -> None:
    labels = ImageTask.labels

    def shifted(self, split):
        found = labels(self, split)
        return (found + 1) % len(self.classes) if self.task == "letters" else found

    monkeypatch.setattr(ImageTask, "labels", shifted)
    caught(verdicts("average"), "the labels of letters")


def test_experts_in_swapped_order(verdicts, monkeypatch) -> None:
    state_dict = EmbeddedClip.state_dict
    swap = {"mnist": "letters", "letters": "mnist"}
    monkeypatch.setattr(EmbeddedClip, "state_dict", lambda self, name: state_dict(self, swap.get(name, name)))
    caught(verdicts("weighted"), "the experts of", "mnist", "letters")
