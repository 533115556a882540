"""Baselines as files: what is written is read, what is damaged is refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.packing import pack, unpack
from fusion_bench.regression import Baseline, from_result, path_of, read_settings
from fusion_bench.regression.baseline import find, read, write
from fusion_bench.regression.rewrite import rewrite, same_measurement
from tests.helpers.results import make_result


@given(st.lists(st.booleans(), max_size=70))
def test_packing_gives_back_what_it_was_given(bits: list[bool]) -> None:
    assert unpack(pack(bits), len(bits)).tolist() == bits


def test_packed_text_that_is_damaged_or_too_short_is_refused() -> None:
    text = pack(np.ones(100, bool))
    for wrong, n in ((text[:-4], 100), ("é", 8), (text, 108), (text, 92), ("not base64!", 8)):
        with pytest.raises(FusionBenchError, match="packed outcomes"):
            unpack(wrong, n)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    baseline = from_result(make_result(), date="2026-11-25")
    path = write(tmp_path, baseline)
    assert read(path) == baseline
    assert path == tmp_path / "p" / "t" / "ties.json"
    assert [p.name for p in path.parent.iterdir()] == ["ties.json"]
    assert baseline.accuracy["mean"] == pytest.approx(np.mean([baseline.outcome(t).mean() for t in baseline.tasks]))


def test_a_person_can_read_it(tmp_path: Path) -> None:
    content = json.loads(write(tmp_path, from_result(make_result(), date="2026-11-25")).read_text())
    assert content["accuracy"]["a"] == 0.75
    assert content["outcomes"]["a"]["n"] == 400
    assert content["commit"] == "c0ffee"


@given(st.text(min_size=1, max_size=150), st.text(min_size=1, max_size=150))
def test_two_cases_never_share_a_file(first: str, second: str) -> None:
    paths = [path_of(Path("x"), {"id": f"{label}-p-t", "modelpool": "p", "taskpool": "t"}) for label in (first, second)]
    assert (paths[0] == paths[1]) == (first == second)
    assert all(path.parent == Path("x/p/t") and len(path.name) < 130 for path in paths)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "schema None"),
        ('{"schema": 0}', "schema 0"),
        ('{"schema": 1}', "not whole"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ties.json"
    path.write_text(text)
    with pytest.raises(FusionBenchError, match=said) as error:
        read(path)
    assert str(path) in error.value.message
    assert "--update-baseline" in str(error.value)


def test_a_task_that_lacks_its_outcomes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, from_result(make_result(), date="2026-11-25"))
    content = json.loads(path.read_text())
    content["outcomes"]["a"]["correct"] = "AAAA"
    path.write_text(json.dumps(content))
    with pytest.raises(FusionBenchError, match="task a"):
        read(path)


def test_a_result_that_does_not_say_which_were_right_makes_none() -> None:
    with pytest.raises(FusionBenchError, match="which examples were right"):
        from_result({**make_result(), "outcomes": {}}, date="2026-11-25")


def test_seconds_and_commits_alone_do_not_make_another_measurement() -> None:
    first = from_result(make_result(), date="2026-11-25")
    later = dataclasses.replace(first, costs={"fusion_seconds": 9.0}, commit="d00d", date="2026-11-26", fingerprint="x")
    assert same_measurement(first, later)
    assert not same_measurement(first, dataclasses.replace(first, config={"other": 1}))
    assert not same_measurement(first, dataclasses.replace(first, data={"a": "other"}))


def test_a_case_is_found_by_its_id_or_what_says_which(tmp_path: Path) -> None:
    for name in ("ties", "ties[scaling=0.4]", "slerp"):
        write(tmp_path, from_result(make_result(label=name), date="2026-11-25"))
    assert find(tmp_path, "slerp").name == "slerp.json"
    assert find(tmp_path, "ties-p-t").name == "ties.json"
    with pytest.raises(FusionBenchError, match="did you mean 'slerp-p-t'"):
        find(tmp_path, "slerq")


def test_settings_are_read_and_refused(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("level: 0.05\n")
    assert read_settings(tmp_path).level == 0.05
    (tmp_path / "gate.yaml").write_text("levle: 0.05\n")
    with pytest.raises(FusionBenchError, match="did you mean 'level'"):
        read_settings(tmp_path)
    (tmp_path / "gate.yaml").write_text("level: 5\n")
    with pytest.raises(FusionBenchError, match="level"):
        read_settings(tmp_path)


def test_fields_have_no_hidden_default() -> None:
    with pytest.raises(TypeError):
        Baseline()  # type: ignore[call-arg]


def test_a_rewrite_keeps_what_was_accepted_and_the_lower_cost(tmp_path: Path) -> None:
    first = from_result(make_result(), date="2026-11-25")
    assert rewrite(tmp_path, first) == "new"
    assert rewrite(tmp_path, dataclasses.replace(first, commit="d00d")) == "as before"
    changed = dataclasses.replace(first, config={"x": 1}, costs={**first.costs, "fusion_ratio": 900.0})
    assert rewrite(tmp_path, changed, because="a\nreason") == "rewritten"
    path = path_of(tmp_path, first.case)
    assert [entry["because"] for entry in read(path).accepted] == ["a reason"]
    assert read(path).costs["fusion_ratio"] == 100.0
    assert rewrite(tmp_path, changed, because="slower, and right", costlier=True) == "rewritten"
    assert read(path).costs["fusion_ratio"] == 900.0
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "schema": 0}))
    assert rewrite(tmp_path, first) == "new"
    assert len(read(path).accepted) == 2
