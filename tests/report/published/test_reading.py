from __future__ import annotations

import datetime

import pytest

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError
from fusion_bench.report.published import tables
from tests.report.published.conftest import table_content

SOURCE = table_content()["source"]
ROW = {"method": "TIES", "algorithm": "ties_sum", "values": "1.0 2.0 3.0 4.0 5.0"}


def with_row(**changes):
    return table_content(rows=[{**ROW, **changes}])


def test_a_sound_table_keeps_every_digit(read):
    (table,) = read(
        sound=with_row(values="1.00 - .5 4 5.0", average="2.10", options={"scaling": 0.3}, unstated=["density"])
    )
    (row,) = table.rows
    assert [cell and cell.text for cell in row.values.values()] == ["1.00", None, ".5", "4", "5.0"]
    assert (row.averages["Avg"].text, row.options, row.unstated) == ("2.10", {"scaling": 0.3}, ("density",))
    assert table.source.date == "2026-08-05"


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (with_row(values="1.0 2.0"), "row 'TIES' has 2 values for 5 columns", "one each"),
        (with_row(values="1.0 2.0 x 4.0 5.0"), "row 'TIES', column 'C': 'x' is no number", "digits as printed"),
        (with_row(values=1.0), "row 'TIES', values is 1.0, no text", "quotes"),
        (with_row(average=3.0), "row 'TIES', 'Avg' is 3.0, no text", "quotes"),
        (with_row(average={"Mean": "3.0"}), "unknown average 'Mean' in published table 'broken', row 'TIES'", "Avg"),
        (with_row(algorithm="tiez_sum"), "unknown algorithm 'tiez_sum'", "ties_sum"),
        (with_row(options={"scalign": 0.3}), "unknown option of ties_sum 'scalign'", "scaling"),
        (with_row(algorithm=None, options={"scaling": 1}), "row 'TIES' has options and no algorithm", "name one"),
        (with_row(expert="f"), "unknown task 'f' in published table 'broken', row 'TIES'", "a, b, c"),
        (with_row(value="1.0"), "row 1 has no field 'value'", "values"),
        (table_content(rows=[{"method": "TIES"}]), "row 'TIES' has neither values nor an average", "leave"),
        (table_content(rows=[ROW, ROW]), "has the row 'TIES' twice", "one row"),
        (table_content(rows=[]), "has no rows", "list"),
        (table_content(rows=[{"values": "1.0"}]), "row 1 lacks method", "null"),
        (table_content(columns={}), "has no columns", "heading"),
        (table_content(unit="per mille"), "unknown unit 'per mille' in published table 'broken'", "percent"),
        (table_content(averages={"Avg": ["F"]}), "unknown column 'F' in published table 'broken', average", "A, B"),
        (table_content(averages={"Avg": "some"}), "average 'Avg' is over 'some'", "all"),
        (table_content(modelpool="clip_vit_b33_ta8"), "unknown modelpool 'clip_vit_b33_ta8'", "clip_vit_b32_ta8"),
        (table_content(taskpool="ta8"), "unknown task of ta8 'a'", "sun397"),
        (table_content(source={}), "source lacks repository", "null"),
        (table_content(source=SOURCE | {"date": "5 August"}), "'5 August' is no day", "YYYY-MM-DD"),
        (table_content(source=SOURCE | {"commit": None}), "commit is null and nothing says why", "unknown"),
        (table_content(source=SOURCE | {"unknown": ["commit"]}), "unknown is ['commit'], no mapping", "unknown"),
        (table_content(averages=["Avg"]), "averages is ['Avg'], no mapping", "averages"),
        (table_content(factors={"Z": 1}), "unknown column 'Z' in published table 'broken', factors", "A, B"),
        (table_content(factors={"A": 0}), "factor 0 of 'A' is no number above 0", ""),
        (with_row(options=["scaling"]), "row 'TIES', options is ['scaling'], no mapping", "options"),
        (with_row(unstated="scaling"), "row 'TIES', unstated is 'scaling', no list", "[scaling]"),
        (table_content(titel="x"), "has no field 'titel'", "title"),
        ({"title": "x"}, "lacks source", "null"),
        ("- a\n- b\n", "is list, no mapping", "title"),
        ("title: [", "cannot read the published table", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_table_and_row(read, content, said, hint):
    with pytest.raises(FusionBenchError) as error:
        read(broken=content)
    assert said in error.value.message
    assert "broken" in error.value.message
    assert hint is None or hint in error.value.hint


def test_no_folder(tmp_path):
    with pytest.raises(FusionBenchError, match="no folder of published tables"):
        tables(tmp_path / "none")


def test_shipped_tables_say_where_they_come_from(shipped):
    assert len(shipped) > 40
    for table in shipped.values():
        gaps = {key for key, value in vars(table.source).items() if value is None}
        assert gaps == set(table.source.unknown), table.name
        if table.source.date:
            assert datetime.date.fromisoformat(table.source.date).year >= 2023
        assert len(table.source.commit or "0" * 7) in (7, 40)


def test_tables_of_our_pools_have_our_tasks_and_say_in_what_they_differ(shipped):
    ours = [table for table in shipped.values() if table.modelpool]
    assert {table.name for table in ours} >= {
        "clip_vit_b32_ta8",
        "clip_vit_b32_ta8_unrounded",
        "clip_vit_b32_ta8_tsv_m",
    }
    for table in ours:
        assert table.tasks == set(registry.read_config("taskpool", table.taskpool)["tasks"])
        assert table.differs


def test_rows_name_the_variant_that_the_source_means(shipped):
    table = shipped["clip_vit_b32_ta8"]
    meant = {row.method: (row.algorithm, dict(row.options)) for row in table.rows if row.algorithm}
    assert meant["Ties-Merging ($\\lambda=0.3$)"] == ("ties_sum", {"density": 0.2, "scaling": 0.3})
    assert meant["Iso-C ($\\lambda=1.5$)"] == ("iso_c_matrices", {"scaling": 1.5})
    assert "Simple Ensemble" not in meant  # theirs averages features, ours probabilities
    assert "Iso-CTS ($\\lambda=1.5$)" not in meant


@pytest.mark.parametrize(
    ("table", "method", "column", "text"),
    [
        ("clip_vit_b32_ta8", "Pre-trained", "SVHN", "31.6"),
        ("clip_vit_b32_generalisation_1", "Pre-trained", "SVHN", "23.5"),
        ("flan_t5_base_glue_lora16", "Simple Average", "RTE", "90.5"),
        ("clip_vit_b32_ta8_unrounded", "Simple Averaging", "gtsrb", "0.5494061708450317"),
        ("gpt2_glue_task_arithmetic", "0.5", "qqp", "0.81818"),
        ("clip_vit_b32_robustness_pixelate", "Weight-Ensembling MoE", "Cars", "0.5"),
    ],
)
def test_known_cells_stand_as_published(shipped, table, method, column, text):
    (row,) = [row for row in shipped[table].rows if row.method == method]
    assert row.values[column].text == text


def test_rows_of_roberta_have_the_means_that_another_paper_quotes(shipped):
    """SyMerge's tables: 85.6 for the experts, 80.2 for EMR-Merging."""
    rows = {row.method: [cell.value for cell in row.values.values()] for row in shipped["roberta_base_glue_emr"].rows}
    assert {len(values) for values in rows.values()} == {8}
    assert f"{sum(rows['Individual']) / 8:.1f}" == "85.6"
    assert f"{sum(rows['EMR-Merging']) / 8:.1f}" == "80.2"


def test_a_paper_that_quotes_gpt2_quotes_it_whole(shipped):
    quoted, own = (
        [tuple(c.text for c in row.values.values()) for row in shipped[name].rows]
        for name in ("gpt2_glue_emr", "gpt2_glue")
    )
    assert quoted[:-1] == own
    assert list(shipped["gpt2_glue_emr"].columns.items()) == list(shipped["gpt2_glue"].columns.items())


def test_an_experts_task_may_stand_in_a_column_of_another_measure(read):
    rows = [{**ROW, "algorithm": None, "options": {}, "expert": "a", "method": "expert of a"}]
    content = table_content(rows=rows, columns={"A": "matthews/a", "B": "b", "C": "c", "D": "d", "E": "e"})
    (table,) = read(mine=content)
    assert (table.rows[0].expert, table.tasks, table.by_measure) == ("a", frozenset("abcde"), True)
