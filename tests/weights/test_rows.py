"""One place of many models, a row each, whatever they are stored in."""

import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.rows import fill_rows
from fusion_bench.weights.spans import Span

TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.fixture
def models(tmp_path):
    g = torch.Generator().manual_seed(0)
    found = []
    for kind in TYPES * 2:
        state = {"a": torch.randn(50, generator=g).to(kind), "b": torch.randn(9, generator=g).to(kind)}
        path = tmp_path / f"{len(found)}.safetensors"
        save_file(state, path)
        found.append(open_checkpoint(path if len(found) < 6 else state))
    return found


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("buffer", [None, threading.local()])
def test_rows_hold_what_the_models_hold(kind, buffer, models):
    for spans in ([Span("a", 3, 47)], [Span("b", 0, 9), Span("a", 0, 2)]):
        rows = np.full((len(models), sum(stop - start for _, start, stop in spans)), np.nan, dtype=kind)
        fill_rows(models, spans, rows, buffer)
        for row, model in zip(rows, models, strict=True):
            expected = np.concatenate([model[name].double().numpy()[start:stop] for name, start, stop in spans])
            np.testing.assert_array_equal(row, expected.astype(kind))


def test_a_file_that_became_shorter_is_named(models, tmp_path):
    with (tmp_path / "0.safetensors").open("rb+") as file:
        file.truncate(100)
    with pytest.raises(FusionBenchError, match=r"0\.safetensors became shorter"):
        fill_rows(models, [Span("a", 0, 50)], np.empty((len(models), 50), dtype=np.float32), None)
