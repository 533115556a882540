"""Sums over tensors: exact enough, and the same to the bit for every cut."""

import math

import pytest
import torch

from fusion_bench.weights.reduction import tensor_sums
from fusion_bench.weights.vectors import block_sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_per_tensor_do_not_depend_on_the_cut(dtype, scanned):
    g = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 5000), "b": (7,), "c": (), "d": (0,), "e": (4096,), "f": (4097,)}
    base = {n: torch.randn(s, generator=g, dtype=dtype) for n, s in shapes.items()}

    def sums(scan):
        return tensor_sums(scan, lambda piece: block_sums(piece, [piece.base, piece.base.square()]), "sum")

    expected = scanned(base, [base], sums, chunk=1 << 20, threads=1)
    for chunk, threads in [(1, 2), (7, 1), (4096, 8), (10_000, 2)]:
        assert scanned(base, [base], sums, chunk=chunk, threads=threads) == expected
    for name, tensor in base.items():
        if tensor.numel():
            exact = [
                math.fsum(tensor.double().flatten().tolist()),
                math.fsum(tensor.double().square().flatten().tolist()),
            ]
            assert expected[name] == pytest.approx(exact, rel=1e-12, abs=1e-12)
