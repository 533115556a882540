from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from fusion_bench import registry
from fusion_bench.cases import CaseResult
from fusion_bench.cases.case import Case
from fusion_bench.cases.compose import compose_case
from fusion_bench.report.leaderboard import leaderboards
from fusion_bench.report.published import Table, beside

POOLS = {"modelpool": "clip_vit_b32_ta8", "taskpool": "ta8"}
TASKS = tuple(registry.read_config("taskpool", "ta8")["tasks"])


def result(algorithm: str, mean: float, *, half: float = 0.003, accuracy=None, pools=POOLS, **options: Any) -> dict:
    """A made-up result: every task at ``mean`` (a fraction) unless ``accuracy`` gives them."""
    accuracy = accuracy or dict.fromkeys(TASKS, mean)
    metrics = {f"accuracy/{task}": value for task, value in accuracy.items()} | {"accuracy/mean": mean}
    config = {"algorithm": {**registry.read_config("algorithm", algorithm), **options}}
    case = {"algorithm": algorithm, **pools, "overrides": [], "seed": None, "device": "cpu", "id": "made-up"}
    interval = [mean - half, mean + half]
    return CaseResult(case, "merging", list(accuracy), metrics, interval, ["weights"], config, "f").to_dict()


@pytest.fixture(scope="module")
def tables(shipped) -> list[Table]:
    return list(shipped.values())


def methods(found) -> list[str]:
    return [row.method for row in found]


def test_the_text_of_the_issue(tables):
    (row,) = beside([result("ties_sum", 0.72)], tables)
    assert (row.text, row.inside, row.table) == ("paper 72.2, here 72.0 ± 0.3", True, "clip_vit_b32_ta8")
    assert row.differences["eurosat"] == pytest.approx(72.0 - 76.8)
    assert row.interval == pytest.approx((71.7, 72.3))
    assert "pins neither data nor processor" in row.differs


def test_what_a_case_composes_is_what_is_matched(tables):
    composed = compose_case(Case("ties_sum", **POOLS, kind="merging", overrides=("algorithm.scaling=0.3",)))
    (row,) = beside([{**result("ties_sum", 0.72), "config": composed}], tables)
    assert row.method.startswith("Ties-Merging")


@pytest.mark.parametrize(
    ("algorithm", "options", "method"),
    [
        ("ties", {}, None),
        ("ties", {"scaling": 0.3}, None),  # a disjoint mean is another method than a sum
        ("ties", {"scaling": 0.3, "combine": "sum"}, None),  # and one entry fewer is kept
        ("ties", {"scaling": 0.3, "combine": "sum", "kept": "above"}, "Ties-Merging ($\\lambda=0.3$)"),
        ("ties_mergekit", {"scaling": 0.3}, None),
        ("ties_peft", {"scaling": 0.3}, None),
        ("ties_sum", {}, "Ties-Merging ($\\lambda=0.3$)"),
        ("ties_sum", {"scaling": 0.4}, None),
        ("ties_sum", {"density": 0.1}, None),
        ("ties_sum", {"scope": "model"}, "Ties-Merging ($\\lambda=0.3$)"),  # said, and the default
        ("ties_sum", {"scope": "tensor"}, None),
        ("task_arithmetic", {}, "Task Arithmetic ($\\lambda=0.3$)"),
        ("task_arithmetic", {"scaling": 0.2}, None),
        ("iso_c", {"scaling": 1.5}, None),
        ("iso_c_matrices", {}, None),
        ("iso_c_matrices", {"scaling": 1.5}, "Iso-C ($\\lambda=1.5$)"),
        ("tsv_m", {}, None),
        ("tsv_m_matrices", {}, "TSV-M"),
        ("tsv_m_matrices", {"scaling": 1}, "TSV-M"),
        ("simple_average", {}, "Simple Averaging"),
        ("simple_ensemble", {}, None),
        ("weighted_average", {}, None),
        ("pretrained", {}, "Pre-trained"),
        ("experts", {}, "Fine-tuned (STL)"),
    ],
)
def test_the_variant_decides(tables, algorithm, options, method):
    assert methods(beside([result(algorithm, 0.7, **options)], tables)) == ([method] if method else [])


def test_an_option_that_the_source_leaves_open_may_be_anything(tables):
    (table,) = [table for table in tables if table.name == "clip_vit_b32_ta8"]
    rows = [dataclasses.replace(row, options={}, unstated=("scaling",)) for row in table.rows]
    table = dataclasses.replace(table, rows=tuple(rows))
    assert methods(beside([result("task_arithmetic", 0.7, scaling=0.9)], [table])) == [
        "Task Arithmetic ($\\lambda=0.3$)"
    ]
    assert beside([result("ties_sum", 0.7, scaling=0.9, combine="mean")], [table]) == []


def test_other_pools_tasks_and_changed_pools_have_nothing_beside_them(tables):
    sound = result("ties_sum", 0.72)
    assert beside([result("ties_sum", 0.72, pools={"modelpool": "clip_mini", "taskpool": "mini8"})], tables) == []
    assert beside([result("ties_sum", 0.72, accuracy=dict.fromkeys(TASKS[:6], 0.72))], tables) == []
    pool = registry.read_config("modelpool", "clip_vit_b32_ta8")
    same = {**sound, "config": {**sound["config"], "modelpool": pool}}
    assert len(beside([same], tables)) == 1
    other = {**pool, "experts": {**pool["experts"], "dtd": "elsewhere/dtd"}}
    assert beside([{**sound, "config": {**sound["config"], "modelpool": other}}], tables) == []
    assert beside([{**sound, "config": {}}], tables) == []  # nobody knows its options
    assert beside([], tables) == []


def test_bounds_that_were_no_cases_are_shown_once(tables):
    references = {"pretrained": dict.fromkeys(TASKS, 0.481), "experts": dict.fromkeys(TASKS, 0.9)}
    cases = [{**result("ties_sum", 0.72), "references": references}, {**result("iso_c", 0.8), "references": references}]
    found = {row.name: row for row in beside(cases, tables)}
    assert list(found) == ["ties_sum", "pretrained", "experts"]
    assert (found["pretrained"].text, found["pretrained"].inside) == ("paper 48.2, here 48.1", None)
    measured = beside([*cases, result("pretrained", 0.49)], tables)
    assert [row.text for row in measured if row.name == "pretrained"] == ["paper 48.2, here 49.0 ± 0.3"]
    assert {row.name for row in measured} <= {row.name for board in leaderboards(cases) for row in board.rows}


@pytest.mark.parametrize(
    ("algorithm", "low", "high", "inside"),
    [
        ("ties_sum", 0.7150, 0.7220, True),
        ("ties_sum", 0.7150, 0.7214, False),  # the values leave 72.125 to 72.225, the statement 72.15 and more
        ("ties_sum", 0.7222, 0.7300, True),
        ("ties_sum", 0.7223, 0.7300, False),
        ("experts", 0.9038, 0.9100, True),  # 90.3 was cut off from what its values put at 90.325 or more
        ("experts", 0.9000, 0.9032, False),  # where rounding alone would have put it
        ("experts", 0.9041, 0.9100, False),
        ("tsv_m_matrices", 0.8300, 0.8306, False),  # 83.06286 has no room
        ("tsv_m_matrices", 0.8300, 0.8307, True),
    ],
)
def test_inside_knows_how_the_table_rounds(tables, algorithm, low, high, inside):
    found = result(algorithm, (low + high) / 2, half=(high - low) / 2)
    assert beside([found], tables)[0].inside is inside


def test_a_published_average_that_contradicts_itself_decides_nothing(shipped):
    table = shipped["clip_vit_b32_ta8"]
    wrong = shipped["clip_vit_b16_ta8"].rows[0].averages
    rows = [dataclasses.replace(r, averages=wrong) if r.algorithm == "ties_sum" else r for r in table.rows]
    (row,) = beside([result("ties_sum", 0.72)], [dataclasses.replace(table, rows=tuple(rows))])
    assert (row.text, row.inside) == ("paper 55.3 (its tasks give 72.2), here 72.0 ± 0.3", None)


def test_a_stated_average_comes_before_more_digits_and_those_before_fewer(shipped, tables):
    (row,) = beside([result("simple_average", 0.66)], tables)
    assert (row.table, row.text) == ("clip_vit_b32_ta8", "paper 66.5, here 66.0 ± 0.3")
    (row,) = beside([result("simple_average", 0.66)], [shipped["clip_vit_b32_ta8_unrounded"]])
    assert row.text == "paper 66.5 (of its tasks), here 66.0 ± 0.3"
    assert float(row.average.mean) == pytest.approx(66.5337, abs=1e-3)
    (row,) = beside([result("tsv_m_matrices", 0.83)], tables)
    assert row.text == "paper 83.06, here 83.00 ± 0.30"


def test_results_without_numbers_do_no_harm(tables):
    (row,) = beside([{**result("ties_sum", 0.72), "interval": None}], tables)
    assert (row.text, row.inside) == ("paper 72.2, here 72.0", None)
    (row,) = beside([result("ties_sum", math.nan)], tables)
    assert (row.text, row.inside) == ("paper 72.2, here nan", None)


def test_nothing_is_changed(tables):
    cases = [result("ties_sum", 0.72) | {"references": {"pretrained": dict.fromkeys(TASKS, 0.5)}}]
    before = repr(cases)
    beside(cases, tables)
    assert repr(cases) == before


NYU = {"modelpool": "nyuv2_resnet50", "taskpool": "nyuv2"}


def test_columns_of_other_measures_are_compared_one_by_one_and_not_averaged(tables):
    shares = {"segmentation": 0.4, "depth": 0.7, "normal": 0.3}
    made = result("simple_average", 0.5, accuracy=shares, pools=NYU)
    measured = {"miou/segmentation": 0.4, "pixel_accuracy/segmentation": 0.66, "absolute_error/depth": 0.56}
    made["metrics"] |= {**measured, "mean_angle/normal": 31.04}
    (row,) = beside([made], tables)
    assert row.text == (
        "miou/segmentation: paper 39.0, here 40.0; pixel_accuracy/segmentation: paper 67.0, here 66.0; "
        "absolute_error/depth (cm, lower is better): paper 55.1, here 56.0; "
        "mean_angle/normal (°, lower is better): paper 30.4, here 31.0"
    )
    assert row.differences["mean_angle/normal"] == pytest.approx(0.64)  # degrees are not printed a hundredfold
    assert row.differences["absolute_error/depth"] == pytest.approx(0.9)
    assert (row.inside, row.average.mean) == (None, None)


def test_other_measures_of_bounds_that_were_no_cases_are_compared_as_well(tables):
    shares = dict.fromkeys(("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"), 0.9)
    made = result("simple_average", 0.5, accuracy=shares, pools={"modelpool": "roberta_base_glue", "taskpool": "glue8"})
    made["references"] = {"experts": shares}
    assert "matthews/cola" not in beside([made], tables)[-1].text
    made["reference_measures"] = {"experts": {"matthews/cola": 0.613}}
    row = beside([made], tables)[-1]
    assert row.name == "experts"
    assert "matthews/cola: paper 60.18, here 61.30" in row.text


def test_nothing_stands_beside_a_result_that_has_none_of_the_measures(tables):
    shares = {"segmentation": 0.4, "depth": 0.7, "normal": 0.3}
    assert beside([result("simple_average", 0.5, accuracy=shares, pools=NYU)], tables) == []
