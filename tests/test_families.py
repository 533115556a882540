"""Which runs are one case but for the seed."""

from __future__ import annotations

from typing import Any

from fusion_bench.families import families, seed_of


def run(seed: int | None, seedless: str = "x", *, name: str = "dare", **case: Any) -> dict[str, Any]:
    """``seed`` None: that of the YAML, 0."""
    full = {"algorithm": name, "overrides": [], "seed": seed, "device": "cpu", **case}
    return {"case": full, "config": {"algorithm": {"seed": seed or 0}}, "seedless": seedless}


def named(runs: list[dict[str, Any]]) -> list[tuple[str, list[int | None]]]:
    return [(family.name, [seed_of(m) for m in family.members]) for family in families(runs, lambda each: each)]


def test_seeds_are_together_in_their_order_at_the_place_of_the_newest() -> None:
    other = run(None, "", name="ties")
    assert named([run(2), other, run(None), run(1)]) == [("dare", [0, 1, 2]), ("ties", [0])]


def test_one_seed_alone_keeps_its_own_name() -> None:
    assert named([run(3)]) == [("dare[seed=3]", [3])]
    assert named([run(None)]) == [("dare", [0])]


def test_a_seed_is_counted_once_however_it_was_given() -> None:
    by_override = run(1, overrides=["algorithm.seed=1"])
    by_override["case"]["seed"] = None
    assert named([run(None), run(0), by_override, run(1)]) == [("dare", [0, 1])]


def test_other_options_and_devices_are_other_methods() -> None:
    runs = [run(seed, overrides=["algorithm.scaling=1"], seedless="y") for seed in (1, 2)]
    runs += [run(seed, device="cuda", seedless="z") for seed in (1, 2)]
    assert named(runs) == [("dare[scaling=1]", [1, 2]), ("dare[device=cuda]", [1, 2])]


def test_of_two_that_would_have_one_name_the_newer_keeps_it() -> None:
    new, old = [run(1), run(2)], [run(None, "old"), run(3, "old")]
    assert named([*new, *old]) == [("dare", [1, 2]), ("dare[seed=3]", [3])]
    assert named([run(None, "new"), run(1, "old"), run(2, "old")]) == [
        ("dare", [0]),
        ("dare[seed=1]", [1]),
        ("dare[seed=2]", [2]),
    ]


def test_runs_that_do_not_say_what_they_are_without_a_seed_stay_alone() -> None:
    assert named([run(1, ""), run(2, "")]) == [("dare[seed=1]", [1]), ("dare[seed=2]", [2])]
    bare = {"case": {"algorithm": "ties"}}
    assert [family.name for family in families([bare, bare], lambda each: each)] == ["ties", "ties"]
