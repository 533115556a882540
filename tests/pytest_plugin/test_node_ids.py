from __future__ import annotations

import pytest

from fusion_bench.cases import Case
from fusion_bench.pytest_plugin.node_ids import case_id_of, pool_of


@pytest.mark.parametrize(
    "overrides", [(), ("algorithm.scaling=-0.4",), ("algorithm.weights=[1,2]", "algorithm.include=a-b")], ids=str
)
def test_the_case_and_its_pool_are_found_in_the_node_id(overrides):
    case = Case("ties", "clip_mini", "mini8", overrides)
    nodeid = f"bench/bench_fusion.py::Class::bench_fusion[{case.id}]"
    assert case_id_of(nodeid) == case.id
    assert pool_of(nodeid) == "clip_mini"


@pytest.mark.parametrize("nodeid", ["a.py::test", "a.py::test[ties]", "a.py::test[a-b]", "a-b/c-d-e.py::test[1]"])
def test_other_tests_have_no_pool(nodeid):
    assert pool_of(nodeid) is None
