"""The matrix: which cases a selection of names and overrides makes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fusion_bench import registry
from fusion_bench.cases import Case, matrix
from fusion_bench.cases.selection import choices
from fusion_bench.errors import FusionBenchError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two model pools and two task pools; each fits one, the second has no multi-task model and needs a network."""
    files = {
        "modelpool/pool_a": "type: embedded_clip\npath: a\ntaskpools: [tasks_a]\nprovides: [multitask]\n",
        "modelpool/pool_b": "type: embedded_clip\npath: b\ntaskpools: [tasks_b]\nneeds: [network]\n",
        "taskpool/tasks_a": "type: zero_shot_classification\npath: a\n",
        "taskpool/tasks_b": "type: zero_shot_classification\npath: b\nneeds: [large]\n",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def ids(**selection: object) -> list[str]:
    return [case.id for case in matrix(**selection)]  # type: ignore[arg-type]


def test_nothing_named_is_every_algorithm_on_the_default_pool() -> None:
    names = registry.names("algorithm")
    variants = {name for name in names if registry.read_config("algorithm", name).get("default") is False}
    assert "ties_peft" in variants
    assert ids() == [f"{name}-clip_mini-mini8" for name in names if name not in variants]


def test_a_variant_is_there_when_its_whole_name_is_said() -> None:
    assert [case.algorithm for case in matrix(words="ties_peft or slerp")].count("ties_peft") == 1
    assert not any(case.algorithm == "ties_peft" for case in matrix(words="ties"))
    assert [case.algorithm for case in matrix(algorithms=["ties_*"])] == ["ties_mergekit", "ties_peft", "ties_sum"]


def test_globs_and_names_choose_and_only_pairs_that_fit_become_cases(folder: Path) -> None:
    found = ids(algorithms=["*ties", "slerp"], modelpools=["pool_*"], config_dir=folder)
    algorithms = ["dare_ties", "ties", "slerp"]
    assert found == [f"{a}-pool_{x}-tasks_{x}" for x in "ab" for a in algorithms]


def test_needs_are_gathered_and_a_missing_multitask_model_makes_no_case(folder: Path) -> None:
    cases = matrix(algorithms=["multitask", "ties"], modelpools=["pool_a", "pool_b"], config_dir=folder)
    assert [(case.id, case.needs) for case in cases] == [
        ("multitask-pool_a-tasks_a", ()),
        ("ties-pool_a-tasks_a", ()),
        ("ties-pool_b-tasks_b", ("network", "large")),
    ]


def test_a_task_pool_alone_finds_its_model_pool(folder: Path) -> None:
    assert ids(algorithms=["ties"], taskpools=["tasks_b"], config_dir=folder) == ["ties-pool_b-tasks_b"]


def test_overrides_multiply_and_skip_algorithms_without_the_field() -> None:
    found = ids(
        algorithms=["ties", "simple_average", "task_arithmetic"],
        overrides=["algorithm.scaling=0.2,0.4", "algorithm.density=0.1"],
    )
    assert found == [f"ties[scaling={x},density=0.1]-clip_mini-mini8" for x in (0.2, 0.4)]


def test_commas_inside_a_value_belong_to_it() -> None:
    assert choices("algorithm.between=[a,b],[b,c]") == ["algorithm.between=[a,b]", "algorithm.between=[b,c]"]
    assert choices("algorithm.x='a,b',c") == ["algorithm.x='a,b'", "algorithm.x=c"]
    with pytest.raises(FusionBenchError, match="names no field and value"):
        choices("algorithm.scaling")


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"algorithms": ["tiez"]}, "did you mean 'ties'"),
        ({"modelpools": ["clip"]}, "did you mean 'clip_mini'"),
        ({"taskpools": ["mini"]}, "did you mean 'mini8'"),
        ({"algorithms": ["ties"], "overrides": ["algorithm.scalin=1"]}, "did you mean 'scaling'"),
        ({"modelpools": ["pool_a"], "taskpools": ["tasks_b"]}, "do not go together"),
    ],
)
def test_what_selects_nothing_is_told_with_the_nearest(
    folder: Path, selection: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(FusionBenchError, match=said):
        matrix(**selection, config_dir=folder)


def test_two_cases_differ_by_what_changes_the_result_and_not_by_their_description() -> None:
    assert Case("ties", "p", "t") == Case("ties", "p", "t", kind="ensemble", needs=("gpu",))
    assert Case("ties", "p", "t").id != Case("ties", "p", "t", seed=1).id


def test_two_thousand_cases_are_made_quickly(folder: Path) -> None:
    overrides = [f"algorithm.scaling={','.join(str(n / 1000) for n in range(1, 2001))}"]
    start = time.process_time()
    cases = matrix(algorithms=["ties"], modelpools=["pool_a"], overrides=overrides, config_dir=folder)
    assert len({case.id for case in cases}) == 2000
    assert time.process_time() - start < 1


def test_a_broken_yaml_is_the_matter_of_its_own_case_only(tmp_path: Path) -> None:
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "broken.yaml").write_text("- a list\n")
    assert [case.algorithm for case in matrix(algorithms=["ties"], config_dir=tmp_path)] == ["ties"]
    with pytest.raises(FusionBenchError, match=r"broken\.yaml holds no options"):
        matrix(algorithms=["broken"], config_dir=tmp_path)
