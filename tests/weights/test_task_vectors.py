"""The step along a task vector: rounding, and what does not move."""

import numpy as np
import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.task_vectors import add_task_vector


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adding_to_half_precision_rounds_the_float32_result(dtype):
    base = {"w": torch.tensor([1.0, 3.0], dtype=dtype)}
    step = {"w": torch.tensor([0.0071, -1.13], dtype=torch.float64)}
    exact = add_task_vector({"w": base["w"].float()}, step, scaling=0.7)["w"]
    merged = add_task_vector(base, step, scaling=0.7)["w"]
    assert merged.dtype == dtype
    assert torch.equal(merged, exact.to(dtype))


def test_entries_that_do_not_move_keep_their_bits():
    base = {"w": torch.tensor([-0.0, 1.0])}
    moved = add_task_vector(base, {"w": torch.zeros(2).double()}, scaling=1.0)["w"]
    assert np.signbit(moved.numpy()).tolist() == [True, False]


def test_overflow_is_an_error():
    base = {"w": torch.tensor([6e4], dtype=torch.float16)}
    with pytest.raises(FusionBenchError, match="merged model: tensor 'w'"):
        add_task_vector(base, {"w": torch.tensor([6e4]).double()}, scaling=1.0)
