from __future__ import annotations

import pytest

from fusion_bench import registry
from fusion_bench.analysis.case import ANALYSES, AnalysisCase, analysis_cases
from fusion_bench.analysis.run import _VIEWS
from fusion_bench.cases import Case
from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin.node_ids import case_id_of, pool_of


def test_every_analysis_on_every_pair_of_pools() -> None:
    found = analysis_cases(taskpools=["mini8"])
    assert [case.id for case in found] == [f"{name}-clip_mini-mini8" for name in ANALYSES]
    assert {case.experiment for case in found} == {"clip_mini/mini8 analysis"}
    assert list(_VIEWS) == list(ANALYSES)


def test_pools_are_selected_as_for_fusion(toy_config) -> None:
    found = analysis_cases(analyses=["norms"], modelpools=["toy"], config_dir=toy_config)
    assert [(case.id, case.modelpool, case.taskpool) for case in found] == [("norms-toy-toy2", "toy", "toy2")]
    large = analysis_cases(analyses=["norms"], modelpools=["clip_vit_b32_ta8"])
    assert set(large[0].needs) >= {"network", "large"}
    with pytest.raises(FusionBenchError, match="unknown modelpool 'clip_mni'"):
        analysis_cases(modelpools=["clip_mni"])


def test_overrides_of_pools_and_the_device_are_part_of_the_name() -> None:
    (one, other) = analysis_cases(
        analyses=["norms"], taskpools=["mini8"], overrides=["taskpool.batch_size=32,64"], device="cuda"
    )
    assert one.id == "norms[taskpool.batch_size=32,device=cuda]-clip_mini-mini8"
    assert other.label == "norms[taskpool.batch_size=64,device=cuda]"
    assert one.pools.device == "cuda"


def test_an_unknown_analysis_has_a_nearest_name() -> None:
    with pytest.raises(FusionBenchError, match=r"did you mean 'cosines'"):
        AnalysisCase("cosine", Case("pretrained", "clip_mini", "mini8"))


def test_the_scheduler_finds_the_pool_in_the_node_id() -> None:
    for case in analysis_cases(taskpools=["mini8"], overrides=["taskpool.batch_size=32"]):
        nodeid = f"bench/bench_analysis.py::bench_analysis[{case.id}]"
        assert (case_id_of(nodeid), pool_of(nodeid)) == (case.id, "clip_mini")


def test_no_name_of_an_algorithm_selects_an_analysis() -> None:
    words = ["bench", "bench_analysis.py", "bench_analysis", "analysis", *(case.id for case in analysis_cases())]
    for algorithm in registry.names("algorithm"):
        assert not any(algorithm in word for word in words), algorithm


def test_a_task_pool_goes_without_what_needs_losses_unless_it_is_named() -> None:
    found = {case.analysis for case in analysis_cases(taskpools=["nyuv2"], modelpools=["nyuv2_resnet50"])}
    assert found == set(ANALYSES) - {"paths", "cross_task"}
    (named,) = analysis_cases(analyses=["paths"], taskpools=["nyuv2"], modelpools=["nyuv2_resnet50"])
    assert named.analysis == "paths"


@pytest.mark.parametrize("name", registry.names("taskpool"))
def test_what_a_task_pool_goes_without_is_an_algorithm_or_an_analysis(name: str) -> None:
    known = {*registry.names("algorithm"), *ANALYSES}
    assert set(registry.read_config("taskpool", name).get("without", ())) <= known
