from __future__ import annotations

import dataclasses
import json
import re

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page import write_report
from tests.report.page.made_runs import made_run


def test_a_page_is_whole_and_replaces_an_older_one(runs, tmp_path):
    path = tmp_path / "deep" / "report.html"
    first = write_report(runs[:3], ["note one"], path)
    second = write_report(runs, ["note two"], path, source="the store")
    text = path.read_text(encoding="utf-8")
    assert second.size == path.stat().st_size < 8_000_000
    assert first.size < second.size
    assert second.boards == 1
    assert "note two" in text
    assert "note one" not in text
    assert text.rstrip().endswith("</html>")
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_examples_lie_in_a_block_of_their_own(runs, tmp_path):
    write_report(runs, [], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    block = re.search(r'<script type="application/json" id="b0-examples">(.*?)</script>', text)
    assert set(json.loads(block[1])) == {"mnist", "fashion", "animals", "letters"}


def test_a_place_that_cannot_be_written_is_named(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionBenchError, match="cannot write"):
        write_report(runs[:2], [], tmp_path / "file" / "report.html")


def test_progress_is_told(runs, tmp_path):
    told = []
    write_report(runs[:4], [], tmp_path / "r.html", progress=lambda *given: told.append(given))
    assert {stage for stage, _, _ in told} == {"outcomes", "predictions", "boards", "page"}
    assert told[-1] == ("page", 2, 2)


def test_runs_of_nothing_but_bounds_make_a_page(world, tmp_path):
    bounds = [made_run(name, world.predictions(0.5), kind="reference") for name in ("pretrained", "experts")]
    assert write_report(bounds, [], tmp_path / "r.html").boards == 1


def test_tasks_of_one_example_are_shown_without_statistics(world, tmp_path):
    def first(predictions):
        return dataclasses.replace(
            predictions,
            **{name: getattr(predictions, name)[:1] for name in ("index", "label", "prediction")},
            cluster=None,
        )

    said = {task: first(found) for task, found in world.predictions(0.5).items()}
    written = write_report([made_run("a", said), made_run("b", said)], [], tmp_path / "r.html")
    assert any("too few examples of mnist" in note for note in written.notes)
