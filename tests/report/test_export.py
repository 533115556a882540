from __future__ import annotations

import csv
import io
import json

from fusion_bench.report.export import to_csv, to_json, to_markdown
from fusion_bench.report.leaderboard import leaderboards


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
