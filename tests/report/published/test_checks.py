from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fusion_bench.report.published import Finding, Printed, Table, findings
from tests.report.published.conftest import table_content


def of_kind(found: list[Finding], kind: str) -> list[Finding]:
    return [finding for finding in found if finding.kind == kind]


def changed(table: Table, method: str, **cells: str) -> Table:
    """The table with other digits in one row."""
    scale = 100 if table.unit == "fraction" else 1
    new = {column: Printed.read(text, scale=scale) for column, text in cells.items()}
    rows = [
        dataclasses.replace(row, values={**row.values, **new}) if row.method == method else row for row in table.rows
    ]
    return dataclasses.replace(table, rows=tuple(rows))


@pytest.fixture(scope="module")
def found(shipped) -> list[Finding]:
    return findings(shipped.values())


def test_averages_that_are_wrong_and_no_others(found):
    assert {(finding.tables[0], finding.row) for finding in of_kind(found, "average")} == {
        ("clip_vit_b32_generalisation_2", "Pre-trained"),
        ("flan_t5_base_glue_lora16", "Simple Average"),
        ("wemoe_router_depth", "AdaMerging (layer-wise)"),
        ("wemoe_router_depth", "WEMoE (1-layer)"),
    }
    (typo,) = [finding for finding in of_kind(found, "average") if "flan" in finding.tables[0]]
    assert typo.message.endswith("RTE 80.5 for 90.5 would mend it")
    assert typo.size == Decimal("1.2875")


def test_averages_that_were_cut_off_are_no_errors(found):
    cut = {finding.message for finding in of_kind(found, "rounding")}
    for known in ("90.375 truncates to 90.3", "92.375 truncates to 92.3", "86.0625 truncates to 86.0",
                  "51.7625 truncates to 51.7", "89.6625 truncates to 89.6"):  # fmt: skip
        assert known in cut
    assert not any(finding.is_error for finding in of_kind(found, "rounding"))


def test_the_copied_file_is_found(found):
    (copy,) = of_kind(found, "copy")
    assert copy.tables == ("regmean_plusplus_b16_ta8", "regmean_plusplus_b32_ta8")
    assert "a copied file" in copy.message


@pytest.mark.parametrize(
    ("start", "size"),
    [
        ("CLIP-ViT-B/32, pretrained, svhn: 31.6", "8.13"),
        ("CLIP-ViT-B/32, pretrained, gtsrb: 32.5", "2.13"),
        ("CLIP-ViT-B/32, pretrained, eurosat: 46.0", "1.00"),
        ("CLIP-ViT-L/14, pretrained, eurosat: 58.9", "2.29"),
        ("CLIP-ViT-B/32, task_arithmetic[scaling=0.3], average: 68.0", "9.14"),
        ("CLIP-ViT-B/32, ties_sum[density=0.2,scaling=0.3], average: 72.2", "5.40"),
    ],
)
def test_one_model_with_two_values(found, start, size):
    (conflict,) = [f for f in of_kind(found, "conflict") if f.message.startswith(start)]
    assert f"{conflict.size:.2f}" == size


def test_values_of_another_backbone_are_recognised(found):
    quoted = [f.message for f in of_kind(found, "conflict") if "magmax_b32_ta8" in f.tables]
    assert sorted(message.partition("; ")[2] for message in quoted) == [
        "77.14 is like the 77.1 of CLIP-ViT-B/16",
        "77.60 is like the 77.5 of CLIP-ViT-B/16",
    ]


def test_nothing_else_is_an_error(found):
    models = {f.message.split(", ")[1].partition("[")[0] for f in of_kind(found, "conflict")}
    assert models == {"pretrained", "experts", "regmean++", "task_arithmetic", "ties_sum"}
    assert not of_kind(found, "range")
    assert [f.message for f in of_kind(found, "heading")] == ["the column of gtsrb is headed GRSRB"]
    assert [f.is_error for f in found] == sorted((f.is_error for f in found), reverse=True)


def test_every_planted_typo_is_found(shipped):
    table = shipped["clip_vit_b32_ta8"]
    for row in table.rows:
        for column, cell in row.values.items():
            other = str((int(cell.text[0]) + 1) % 10) + cell.text[1:]  # another ten
            found = of_kind(findings([changed(table, row.method, **{column: other})]), "average")
            assert [finding.row for finding in found] == [row.method]


def test_the_digit_that_mends_an_average_is_named(shipped):
    table = changed(shipped["clip_vit_b32_ta8"], "Fisher Merging", MNIST="38.5")
    (finding,) = of_kind(findings([table]), "average")
    assert finding.message.endswith("disagrees by 5.6")  # 38 for 83 is two digits
    table = changed(shipped["clip_vit_b32_ta8"], "Fisher Merging", MNIST="23.5")
    (finding,) = of_kind(findings([table]), "average")
    assert "MNIST 83.5 for 23.5" in finding.message


def test_sound_tables_have_no_findings(read):
    assert findings(read(one=table_content())) == []


def test_a_row_copied_within_a_table_is_found(read):
    content = table_content()
    content["rows"][2] |= {"values": content["rows"][1]["values"], "average": content["rows"][1]["average"]}
    (copy,) = findings(read(one=content))
    assert (copy.kind, copy.row) == ("copy", "Average")
    assert "equals 'Other' in all 5 values" in copy.message


def test_a_row_copied_from_another_backbone_is_found_and_whole_tables_as_files(read):
    other = table_content(backbone="C")
    other["rows"] = [other["rows"][1], {"method": "Base", "algorithm": "pretrained", "values": "1.0 2.0 3.0 4.0 5.0"}]
    (copy,) = of_kind(findings(read(one=table_content(), two=other)), "copy")
    assert (copy.tables, copy.row) == (("one", "two"), "Average")
    (copy,) = of_kind(findings(read(one=table_content(), two=table_content(backbone="C"))), "copy")
    assert copy.row is None


def test_one_model_twice_is_no_copy(read):
    sweep = table_content(merged="other")
    sweep["rows"] = [{**sweep["rows"][0], "method": "0.0", "algorithm": "task_arithmetic", "options": {"scaling": 0.0}}]
    assert findings(read(one=table_content(), two=sweep)) == []  # a step of length 0 is the base


def test_more_digits_of_one_number_are_no_conflict(read):
    exact = table_content(unit="fraction")
    exact["rows"] = [{"method": "Average", "algorithm": "simple_average", "values": "0.12149 0.2214 0.321 0.421 0.522"}]
    assert findings(read(one=table_content(), two=exact)) == []
    exact["rows"][0]["values"] = "0.1222 0.2214 0.321 0.421 0.522"
    (conflict,) = findings(read(two=exact))
    assert conflict.message == "B, simple_average[], a: 12.1 (one), 0.1222 (two)"
    exact["source"] |= {"repository": "elsewhere"}  # others may have measured otherwise
    assert findings(read(two=exact)) == []


def test_a_value_must_be_much_more_like_the_stranger_than_like_its_own(read):
    def with_value(text, backbone="B"):
        row = {"method": "Average", "algorithm": "simple_average", "values": f"{text} 22.1 32.1 42.1 -"}
        return table_content(backbone=backbone, rows=[row])

    (conflict,) = findings(read(one=with_value("12.1"), two=with_value("16.1"), three=with_value("16.8", "C")))
    assert conflict.message.endswith("16.1 is like the 16.8 of C")
    (conflict,) = findings(read(three=with_value("18.0", "C")))
    assert conflict.message.endswith("16.1 (two)")


def test_values_that_are_no_percentage(read):
    content = table_content()
    content["rows"][0] |= {"values": "110.0 20.0 30.0 40.0 50.0", "average": "50.0"}
    content["rows"][2] |= {"values": "-13.0 23.0 33.0 43.0 53.0", "average": "27.8"}
    assert [(f.kind, f.row, f.message) for f in findings(read(one=content))] == [
        ("range", "Base", "A 110.0 is no accuracy in percent"),
        ("range", "Other", "A -13.0 is no accuracy in percent"),
    ]


def test_only_the_average_over_its_own_columns_counts(read):
    content = table_content(averages={"Seen": ["A", "B"], "Unseen": ["C", "D", "E"]})
    for row, stated in zip(content["rows"], (("15.0", "40.0"), ("17.1", "42.1"), ("18.0", "34.0")), strict=True):
        row["average"] = dict(zip(("Seen", "Unseen"), stated, strict=True))
    (finding,) = findings(read(one=content))
    assert (finding.row, finding.message) == ("Other", "Unseen: states 34.0, its values give 43: disagrees by 9")
