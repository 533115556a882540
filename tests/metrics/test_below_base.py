"""Experts below their base: which are named, and which difference is told as one that is not chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.below_base import CHANCE, below_base
from fusion_bench.metrics.predictions import Predictions


def answers(right: Any, **changes: Any) -> Predictions:
    right = np.asarray(right)
    ones = np.ones(len(right), dtype=np.int64)
    fields = {"task": "t", "index": np.arange(len(right)), "label": ones, "prediction": right.astype(np.int64)}
    return Predictions(**{**fields, "confidence": None, "loss": None, "metric": "exact_match", **changes})


def scores(values: Any) -> Predictions:
    values = np.asarray(values, dtype=np.float64)
    none = np.full(len(values), -1)
    return answers(values, label=none, prediction=none, score=values, metric="rouge")


@pytest.mark.parametrize("lost", range(1, 9))
def test_it_is_mcnemars_exact_test_one_sided(lost: int) -> None:
    """The base alone is right on ``lost`` examples, the expert alone on none: p is 2⁻ˡᵒˢᵗ."""
    base, expert = answers([1] * 20), answers([1] * (20 - lost) + [0] * lost)
    (message,) = below_base({"t": base}, {"t": expert})
    p = binomtest(0, lost, alternative="less").pvalue
    assert message.startswith(f"t: the expert scores {1 - lost / 20:.4f} (exact_match), its base 1.0000")
    assert ("not chance" in message) == (p < CHANCE)
    told = float(message.partition("(p = ")[2].partition(")")[0])
    assert told == pytest.approx(p, rel=0.05)  # of two figures


def test_only_tasks_whose_expert_is_below_are_named_in_their_order() -> None:
    low, high = answers([0, 0, 1, 1]), answers([1, 1, 1, 0])
    base = {"same": low, "better": low, "worse": high, "lost": high, "alone": high}
    found = below_base(base, {"lost": low, "same": low, "better": high, "worse": low})
    assert [one.partition(":")[0] for one in found] == ["lost", "worse"]
    assert below_base({}, {}) == []


def test_an_expert_is_named_where_its_name_is_not_the_tasks() -> None:
    base, expert = {"t": answers([1, 1]), "u": answers([1, 1])}, {"t": answers([0, 1]), "u": answers([0, 1])}
    named, plain = below_base(base, expert, names={"t": "math", "u": "u"})
    assert named.startswith("t: the expert math scores 0.5000")
    assert plain.startswith("u: the expert scores 0.5000")


def test_scores_are_compared_example_by_example() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=40)
    (clear,) = below_base({"t": scores(hard)}, {"t": scores(hard - 0.05 + 0.01 * rng.normal(size=40))})
    assert "not chance" in clear  # beside the examples' own spread, which is that of 1, 0.05 would be nothing
    (vague,) = below_base({"t": scores(hard)}, {"t": scores(hard - 0.05 + rng.normal(size=40))})
    assert "may be chance" in vague


def test_examples_of_one_source_count_together() -> None:
    base, expert = answers([1] * 20), answers([1] * 12 + [0] * 8)
    source = np.array(["s"] + [f"u{i}" for i in range(11)] + ["one"] * 8)
    (alone,) = below_base({"t": base}, {"t": expert})
    (together,) = below_base(
        {"t": answers([1] * 20, cluster=source)}, {"t": answers([1] * 12 + [0] * 8, cluster=source)}
    )
    assert "not chance" in alone
    assert "may be chance (p = 0.50)" in together


def test_what_cannot_be_paired_is_refused() -> None:
    one = answers([1, 0, 1])
    with pytest.raises(FusionBenchError, match="not evaluated on 't'"):
        below_base({}, {"t": one})
    with pytest.raises(FusionBenchError, match="exact_match and acc"):
        below_base({"t": one}, {"t": answers([1, 0, 1], metric="acc")})
    with pytest.raises(FusionBenchError, match="on other examples"):
        below_base({"t": one}, {"t": answers([1, 0])})
    (single,) = below_base({"t": answers([1])}, {"t": answers([0])})
    assert single.endswith("one example says nothing")
