from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

from fusion_bench.report.export import FORMS, Entry, to_csv, to_json, to_latex, to_markdown, write_boards
from fusion_bench.report.leaderboard import Board, Row, leaderboards


def test_csv_reads_back_with_full_precision(results):
    (board,) = leaderboards(results)
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [row["algorithm"] for row in rows] == [row.name for row in board.rows]
    assert float(rows[1]["mnist"]) == board.rows[1].accuracy["mnist"]
    assert rows[0]["rank"] == ""
    assert rows[1]["interval_low"] == str(board.rows[1].interval[0])


def test_json_holds_every_row_and_a_schema(results):
    (board,) = leaderboards(results)
    document = json.loads(to_json(board))
    assert document["schema"] == 1
    assert [row["mean"] for row in document["rows"]] == [row.mean for row in board.rows]


def test_markdown_marks_the_best_and_the_references(results):
    (board,) = leaderboards(results)
    lines = to_markdown(board).splitlines()
    assert len({line.count("|") for line in lines}) == 1  # every line has the same cells
    assert "*experts*" in lines[2]
    assert "**68.0**" in lines[3]


def _measured(results):
    found = [{**r, "metrics": dict(r["metrics"])} for r in results]
    for place, result in enumerate(found):
        if result["kind"] != "reference":
            result["metrics"] |= {"rmse/mnist": 0.5 + 0.01 * place, "own|x/mnist": 30.0}
    return found


def test_markdown_has_other_measures_below_where_there_are_any(results):
    (board,) = leaderboards(_measured(results))
    plain = to_markdown(leaderboards(results)[0])
    text = to_markdown(board)
    assert text.startswith(plain + "\n")
    legend, table = text.removeprefix(plain).strip().split("\n\n")
    assert "lower is better" in legend
    lines = table.splitlines()
    assert re.split(r" (?<!\\)\| ", lines[0].strip("| ")) == ["algorithm", "rmse/mnist, m ↓", "own\\|x/mnist"]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    methods = [row for row in board.rows if not row.is_reference]
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        [f" {row.name} ", f" {row.measures['rmse/mnist']:.4f} "] for row in methods
    ]
    assert "Other measures" not in plain
    assert json.loads(to_json(board))["rows"][-1]["measures"] == board.rows[-1].measures


def _biting(results):
    name = "a_b & 50% | {x}\\~^#$ <b>\n|"
    result = {**results[1], "case": {**results[1]["case"], "algorithm": name}}
    return _with_letters(leaderboards([*results, result])[0], {"ties": "ab"})


def _with_letters(board, letters):
    rows = tuple(dataclasses.replace(row, letters=letters.get(row.name, "")) for row in board.rows)
    return dataclasses.replace(board, rows=rows)


def test_markdown_keeps_its_columns_whatever_a_name_holds(results):
    lines = to_markdown(_biting(results)).splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<b>" not in "".join(lines)


def test_latex_is_a_table_of_equal_rows_whatever_a_name_holds(results):
    board = _biting(results)
    text = to_latex(board)
    body = text[text.index("\\midrule") : text.index("\\bottomrule")].splitlines()[1:]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1]
    assert len(body) == len(board.rows)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(columns) - 1}
    assert all(line.endswith(r" \\") for line in body)
    assert r"a\_b \& 50\% | \{x\}\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$ <b> |" in text
    assert r"\textit{experts}" in text
    assert r"\textbf{68.0}" in text
    assert "66.8--69.2" in text


def test_letters_stand_in_a_column_of_their_own(results):
    board = _with_letters(leaderboards(results)[0], {"ties": "ab"})
    lines = to_markdown(board).splitlines()
    place = lines[0].split("|").index(" group ")
    assert {line.split("|")[2].strip(): line.split("|")[place].strip() for line in lines[2:]} == {
        row.name if not row.is_reference else f"*{row.name}*": "ab" if row.name == "ties" else "" for row in board.rows
    }


def test_several_boards_are_one_document(results):
    board = _with_letters(leaderboards(results)[0], {"ties": "a"})
    other = Board(
        "other", "pool", ("mnist", "new"), (Row("ties", "merging", {"mnist": 0.5, "new": 0.25}, mean=0.375, rank=1),)
    )
    entries = [Entry(board, "0a1b"), Entry(other)]
    rows = list(csv.DictReader(io.StringIO(write_boards(entries, "csv"))))
    assert len(rows) == len(board.rows) + 1
    assert rows[-1]["new"] == "0.25"
    assert rows[0]["new"] == ""
    assert {row["data"] for row in rows} == {"0a1b", ""}
    document = json.loads(write_boards(entries, "json"))
    assert [found["taskpool"] for found in document["boards"]] == ["mini8", "pool"]
    assert [row["group"] for row in document["boards"][0]["rows"] if row["algorithm"] == "ties"] == ["a"]
    assert write_boards(entries, "md").count("## ") == 2
    assert write_boards(entries, "latex").count("\\begin{tabular}") == 2
    assert json.loads(write_boards([], "json"))["boards"] == []
    assert FORMS == ("md", "csv", "latex", "json")
