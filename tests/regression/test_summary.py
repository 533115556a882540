"""What stands at the end of a gated session."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_bench.regression.summary import heading, smallest_set, summary_lines


def seen(name: str, status: str, *, diagnosis: str = "", seconds: float = 1.0, **differences: float):
    case = {"id": f"{name}-p-t", "algorithm": name, "overrides": [], "seed": None}
    verdict: dict[str, Any] = {"case": case["id"], "status": status, "diagnosis": diagnosis, "findings": []}
    return {"case": case, "metrics": {"cost/fusion_seconds": seconds}}, {**verdict, "differences": differences}


WORSE = [
    seen("ties", "worse", diagnosis="labels of mnist", seconds=9.0, mean=-0.01, a=-0.05, b=0.03),
    seen("slerp", "worse", diagnosis="labels of mnist", seconds=1.0, mean=-0.02, a=-0.09),
    seen("iso_c", "costlier", seconds=0.1),
    seen("dare", "as before"),
]


def test_all_as_before_is_one_line() -> None:
    assert summary_lines([seen("a", "as before"), seen("b", "as before")], {}) == ["2 as before"]
    assert summary_lines([], {}) == ["no case"]


def test_failures_worst_first_with_what_to_rerun() -> None:
    first, *lines = summary_lines(WORSE, {"skipped": 2}, options=["--fb-config-path", "my conf"])
    assert first == "2 worse; 1 costlier; 1 as before; 2 skipped"
    assert [line.split()[0] for line in lines[:3]] == ["slerp-p-t", "ties-p-t", "iso_c-p-t"]
    assert lines[0].endswith("mean -2.00, a -9.00 points")
    assert lines[-1] == "rerun:  python -m fusion_bench baseline check --config-path 'my conf' slerp-p-t iso_c-p-t"


def test_the_cheapest_case_of_each_cause_and_costs_last() -> None:
    assert [result["case"]["algorithm"] for result in smallest_set(WORSE[:3])] == ["slerp", "iso_c"]


def test_an_update_says_what_it_wrote() -> None:
    assert summary_lines([seen("a", "new"), seen("b", "as before")], {}, updating=True) == [
        "1 new; 1 as before",
        "look at the diff before you commit it",
    ]
    assert summary_lines([seen("b", "as before")], {}, updating=True)[-1] == "nothing to write"


def test_a_case_without_a_baseline_and_one_without_trials_get_a_line_to_copy() -> None:
    alone = seen("ties", "as before")
    alone[1]["findings"].append({"kind": "unjudged", "task": None, "text": "…"})
    with_seed = seen("dare", "new")
    with_seed[0]["case"] |= {"seed": 3, "overrides": ["algorithm.scaling=0.4"]}
    lines = summary_lines([alone, with_seed], {})
    update = "pytest bench --update-baseline --algorithm"
    assert lines[1:] == [
        f"give them a baseline: {update} dare --seed 3 --override algorithm.scaling=0.4",
        f"of 1 only the main trial was judged; for the others: {update} ties",
    ]


@pytest.mark.parametrize(
    ("cases", "others", "said"),
    [
        ([seen("a", "better")], {}, "All 1 cases hold"),
        ([seen("a", "better"), seen("b", "new")], {}, "1 of 2 cases hold; 1 without a baseline"),
        ([seen("a", "changed")], {"not run": 1}, "0 of 2 cases hold; 1 changed; 1 not run"),
        ([], {}, "0 of 0 cases hold"),
    ],
)
def test_that_all_hold_is_said_only_where_all_were_held(cases, others, said: str) -> None:
    assert heading(cases, others) == said
