from __future__ import annotations

import json

import pytest

from fusion_bench.tracking.analyses import read_analyses
from fusion_bench.tracking.run import TrackedRun


def _analysis(store, folder, name, text, experiment="p/t analysis"):
    with TrackedRun(store, experiment, name, {"case": f"{name}-p-t", "kind": "analysis"}) as run:
        if text is not None:
            home = folder / name
            home.mkdir()
            (home / "analysis.json").write_text(text)
            run.artifacts(home)
    return run.id


def test_documents_newest_first_and_a_note_for_each_that_is_lost(store, tmp_path):
    first = _analysis(store, tmp_path, "cosines", json.dumps({"title": "one"}))
    missing = _analysis(store, tmp_path, "norms", None)
    broken = _analysis(store, tmp_path, "signs", "{")
    with (
        pytest.raises(ValueError, match="no"),
        TrackedRun(store, "p/t analysis", "paths", {"kind": "analysis"}) as failed,
    ):
        raise ValueError("no")
    with TrackedRun(store, "p/t", "ties", {"case": "ties-p-t", "kind": "merging"}):
        pass
    second = _analysis(store, tmp_path, "kinship", json.dumps({"title": "two"}))

    documents, notes = read_analyses(store.location)

    assert [document["title"] for document in documents] == ["two", "one"]
    assert set(notes) == {missing, broken, failed.id}
    assert "missing" in notes[missing]
    assert "cannot be read" in notes[broken]
    assert "FAILED" in notes[failed.id]
    assert {first, second}.isdisjoint(notes)


def test_only_those_of_the_pools_asked_for(store, tmp_path):
    _analysis(store, tmp_path, "cosines", json.dumps({"title": "p"}))
    _analysis(store, tmp_path, "norms", json.dumps({"title": "q"}), experiment="q/t analysis")
    documents, _ = read_analyses(store.location, experiments=["q/t"])
    assert [document["title"] for document in documents] == ["q"]
