"""The published fusion-bench, for the methods of it that are known to work."""

import json

import pytest
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from fusion_bench.merging import merge
from tests.oracles.conftest import models

SHAPES = {"up.weight": (24, 16), "up.bias": (24,), "down.weight": (16, 24), "down.bias": (16,), "norm.weight": (16,)}


@pytest.mark.parametrize(
    ("theirs", "options", "ours", "count"),
    [
        ("SimpleAverageAlgorithm", {}, ("simple_average", {}), 4),
        ("WeightedAverageAlgorithm", {"normalize": True, "weights": [1, 2, 3, 4]}, ("weighted_average", {"weights": [1, 2, 3, 4]}), 4),
        ("TaskArithmeticAlgorithm", {"scaling_factor": 0.3}, ("task_arithmetic", {"scaling": 0.3}), 4),
        ("TiesMergingAlgorithm", {"scaling_factor": 0.3, "threshold": 20, "remove_keys": [], "merge_func": "sum"}, ("ties_sum", {}), 4),
        ("TiesMergingAlgorithm", {"scaling_factor": 1.0, "threshold": 20, "remove_keys": [], "merge_func": "mean"}, ("ties", {"kept": "above"}), 4),
        ("SlerpMergeAlgorithm", {"t": 0.3}, ("slerp", {"t": 0.3}), 2),
        ("TaskSingularVectorMerging", {"alpha": 1.0}, ("tsv_m_matrices", {}), 4),
        ("TaskSingularVectorMerging", {"alpha": 0.7}, ("tsv_m_matrices", {"scaling": 0.7}), 3),
        ("IsotropicMergingInCommonSubspace", {"scaling_factor": 1.5}, ("iso_c_matrices", {"scaling": 1.5}), 4),
    ],
)  # fmt: skip
def test_same_result(theirs, options, ours, count, oracle, tmp_path):
    base, experts = models(SHAPES, count)
    given = experts if theirs == "SlerpMergeAlgorithm" else {"base": base, **experts}  # it wants two models, no base
    for name, state in given.items():
        save_file(state, tmp_path / f"{name}.safetensors")
    oracle("run_upstream.py", theirs, json.dumps(options), tmp_path, cwd=tmp_path)
    expected = load_file(tmp_path / "out.safetensors")
    name, fields = ours
    merged = merge(name, base=base, experts=experts, **fields)
    assert set(merged) == set(expected)
    for key, tensor in expected.items():
        assert_close(merged[key], tensor, rtol=1e-5, atol=2e-6)
