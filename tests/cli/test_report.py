from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.cli.report import combined, main, shown
from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking.location import locate_store
from fusion_bench.tracking.rows import read_rows
from tests.report.page.conftest import METHODS
from tests.report.page.made_runs import World, made_run, nights
from tests.report.page.made_store import add_odd_runs, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two pools in three nights; the odd runs apart, in a store of their own."""
    from fusion_bench.tracking import Store

    folder = tmp_path_factory.mktemp("report_store")
    Store(locate_store(f"sqlite:///{folder}/empty.db"))
    world = World(size=60)
    runs = nights(METHODS, 3, world=world) + nights({"ties": 0.5, "slerp": 0.6}, 1, world=world, pools=("other", "up4"))
    return write_store(folder / "s", folder / "empty.db", runs)


@pytest.fixture(scope="module")
def odd_store(store, tmp_path_factory):
    """Runs that are no results beside six that are; by run id the word that its note must hold."""
    empty = Path(store.removeprefix("sqlite:///")).parent.parent / "empty.db"
    folder = tmp_path_factory.mktemp("odd_store")
    uri = write_store(folder, empty, nights(METHODS, 1, world=World(size=60)))
    return uri, add_odd_runs(uri)


def _run(capsys, *words):
    status = main(words)
    return status, *capsys.readouterr()


def test_a_page_with_its_place_size_and_time(store, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = _run(capsys, "--tracking-uri", store)
    assert status == 0
    assert re.fullmatch(r"report\.html: 20 runs on 2 boards, \d\.\d MB, \d+\.\d s\n", out)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "made/up4" in text
    assert "other/up4" in text
    assert "unknown modelpool 'made'" in err


def test_every_odd_run_is_named_and_none_is_fatal(odd_store, tmp_path, capsys):
    uri, expected = odd_store
    status, _, err = _run(capsys, "--tracking-uri", uri, "--out", str(tmp_path / "r.html"), "--no-pictures")
    assert status == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for run_id, word in expected.items():
        lines = [line for line in err.splitlines() if run_id in line]
        assert [word in line for line in lines] == ([True] if word else []), (word, lines)
        assert (f"run {run_id}" in text) == bool(word)
    assert "<b>broken</b>" not in text
    assert "&lt;b&gt;broken&lt;/b&gt;" in text
    assert "pictures" not in err  # none were asked for


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (("--experiment", "other/up4"), {"ties", "slerp"}),
        (("--session", "session0002", "--experiment", "made/up4"), set(METHODS)),
        (("--where", "tags.kind = 'reference'"), {"pretrained", "experts"}),
        (
            ("--since", "2026-01-07T02:00:05", "--experiment", "made/up4"),
            {"iso_c", "slerp", "experts", "dare_ties", "pretrained"},
        ),
    ],
)
def test_a_selection_of_runs(store, capsys, words, labels):
    _, out, _ = _run(capsys, "--tracking-uri", store, "--format", "json", *words)
    boards = json.loads(out)["boards"]
    assert {row["algorithm"] for board in boards for row in board["rows"]} == labels


def test_csv_has_all_boards_in_one_table(store, capsys):
    _, out, _ = _run(capsys, "--tracking-uri", store, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == len(METHODS) + 2
    assert {(row["modelpool"], row["taskpool"]) for row in rows} == {("made", "up4"), ("other", "up4")}
    ties = next(row for row in rows if row["algorithm"] == "ties" and row["modelpool"] == "made")
    assert float(ties["interval_low"]) < float(ties["mean"]) < float(ties["interval_high"])
    assert ties["group"]


def test_markdown_goes_where_it_is_sent(store, tmp_path, capsys):
    status, out, _ = _run(capsys, "--tracking-uri", store, "--format", "md", "--out", str(tmp_path / "a" / "t.md"))
    assert (status, out.strip()) == (0, str(tmp_path / "a" / "t.md"))
    assert (tmp_path / "a" / "t.md").read_text().startswith("## made/up4 (examples ")


def test_tables_have_the_intervals_and_letters_of_the_page(store, tmp_path, capsys):
    _, out, _ = _run(capsys, "--tracking-uri", store, "--format", "json")
    board = next(board for board in json.loads(out)["boards"] if board["modelpool"] == "made")
    main(["--tracking-uri", store, "--out", str(tmp_path / "r.html"), "--no-pictures"])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    payload = json.loads(re.search(r'id="payload">(.*?)</script>', text)[1])
    rows = {row["name"]: row for row in payload["boards"][0]["rows"]}
    assert len(rows) == len(METHODS)
    for row in board["rows"]:
        assert row["interval"] == rows[row["algorithm"]]["interval"]
        assert (row["group"] or "") == rows[row["algorithm"]]["letters"]


def test_no_run_where_something_was_asked_for_is_said(store, capsys):
    with pytest.raises(FusionBenchError, match=r"no finished run .* where tags.session LIKE 'nosuch%'"):
        main(["--tracking-uri", store, "--session", "nosuch"])


def test_an_experiment_that_is_not_there_has_its_nearest(store):
    with pytest.raises(FusionBenchError, match="unknown experiment 'made/up5'") as error:
        main(["--tracking-uri", store, "--experiment", "made/up5"])
    assert "made/up4" in error.value.hint


@pytest.mark.parametrize("session", ["x' or 1=1", "", "a%"])
def test_a_session_is_no_way_into_the_filter(session):
    with pytest.raises(FusionBenchError, match="is no session"):
        combined("", session=session)


def test_a_date_that_is_none():
    with pytest.raises(FusionBenchError, match="--since yesterday: no date"):
        combined("", since="yesterday")


def test_a_date_with_a_zone_is_that_moment():
    assert combined("", since="2026-01-01T02:00+02:00") == combined("", since="2026-01-01")


def test_passwords_are_not_shown():
    assert shown("postgresql://me:secret@host/db") == "postgresql://host/db"


def test_a_file_in_the_way(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionBenchError, match="cannot write"):
        main(["--tracking-uri", store, "--format", "md", "--out", str(tmp_path / "file" / "t.md")])


def test_analyses_are_shown_and_are_no_lost_cases(store, tmp_path, capsys):
    """An analysis leaves no report.json: it must appear as a panel, not as a note."""
    from tests.report.page.made_store import _insert

    database = Path(store.removeprefix("sqlite:///"))
    empty = database.parent.parent / "empty.db"
    uri = write_store(tmp_path / "s", empty, nights({"ties": 0.5, "slerp": 0.6}, 1, world=World(size=60)))
    run = made_run("cosines", World(size=4).predictions(0.5), night=3)
    home = tmp_path / "s" / "artifacts" / run.run_id / "artifacts"
    home.mkdir(parents=True)
    table = {"title": "cosines!", "measure": "m", "rows": ["a"], "columns": ["b"], "values": [[0.25]], "view": "matrix"}
    case = {"analysis": "cosines", "modelpool": "made", "taskpool": "up4"}
    (home / "analysis.json").write_text(json.dumps({"case": case, "tables": {"c": table}, "run_id": run.run_id}))
    run.tags["kind"] = "analysis"
    import sqlite3

    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        _insert(connection, "made/up4 analysis", run, home, home.parent.parent)
    _, _, err = _run(capsys, "--tracking-uri", uri, "--out", str(tmp_path / "r.html"), "--no-pictures")
    assert err == ""
    assert "cosines!" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_made_store_reads_the_same_by_sql_and_by_mlflow(store):
    """The stores of these tests are written with SQL: MLflow itself must find the same in them."""
    location = locate_store(store)
    by_sql = read_rows(location)
    by_client = read_rows(location, where="attributes.start_time > 0")
    assert [(row.run_id, row.status, row.data, row.experiment) for row in by_sql] == [
        (row.run_id, row.status, row.data, row.experiment) for row in by_client
    ]
    assert all(row.tags.items() >= other.tags.items() for row, other in zip(by_client, by_sql, strict=True))


def test_help_teaches_and_loads_nothing_heavy():
    code = (
        "import sys; from fusion_bench.cli.report import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'mlflow', 'pandas', 'scipy', 'plotly', 'jinja2') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("[]")
    assert "fusion_bench report --format latex --out table.tex" in out
