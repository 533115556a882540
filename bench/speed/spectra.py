"""What the spectral methods' arithmetic costs and loses: errors against float64, times on one thread and on two.

usage: python -m bench.speed.spectra
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import scipy.linalg
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from fusion_bench.algorithms.tsv_m import merge_singular_vectors
from fusion_bench.weights.lapack import gram, largest_eigenpairs
from fusion_bench.weights.polar import polar

TASKS, RANK = 8, 96


def task_vectors(shape: tuple[int, int]) -> list[Tensor]:
    """As ``generate.py`` makes them: differences of float32 weights, random."""
    g = torch.Generator().manual_seed(0)
    base = 0.02 * torch.randn(shape, generator=g)
    experts = (base + 0.001 * torch.randn(shape, generator=g) for _ in range(TASKS))
    return [expert.double() - base.double() for expert in experts]


def by_svd(deltas: list[Tensor], dtype: torch.dtype) -> Tensor:
    """TSV-M with singular value decompositions in a type, and polar factors in float64."""
    parts = [torch.linalg.svd(delta.to(dtype), full_matrices=False) for delta in deltas]
    left = torch.cat([u[:, :RANK] for u, _, _ in parts], 1).double()
    right = torch.cat([vt[:RANK].T for _, _, vt in parts], 1).double()
    values = torch.cat([s[:RANK] for _, s, _ in parts]).double()
    return (polar(left).factor * values) @ polar(right).factor.T


def errors(shape: tuple[int, int]) -> None:
    """Relative errors of TSV-M, in the Frobenius norm."""
    deltas = task_vectors(shape)
    exact = by_svd(deltas, torch.float64)
    g = torch.Generator().manual_seed(1)
    rounding = [2**-24 * 0.02 * torch.randn(shape, generator=g, dtype=torch.float64) for _ in deltas]
    rounded = [delta + noise for delta, noise in zip(deltas, rounding, strict=True)]
    rows = {
        "ours, float32 allowed": merge_singular_vectors(deltas, coarse=True).double(),
        "ours, float64": merge_singular_vectors(deltas),
        "SVDs in float32": by_svd(deltas, torch.float32),
        "exact, of weights rounded to float32 once more": by_svd(rounded, torch.float64),
    }
    for name, found in rows.items():
        print(f"{shape}: {name}: {float((found - exact).norm() / exact.norm()):.1e}")


def milliseconds(function: Callable[[], object], threads: int, rounds: int = 5) -> float:
    """Of one call, while as many threads make it at once."""
    found: list[float] = []

    def work() -> None:
        torch.set_num_threads(1)
        for _ in range(rounds):
            began = time.perf_counter()
            function()
            found.append(time.perf_counter() - began)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return 1e3 * statistics.median(found)


def newton(matrix: Tensor) -> Tensor:
    """The polar factor by Newton's scaled iteration."""
    change = 1.0
    while change > 2e-4:
        inverse = torch.linalg.inv(matrix).T
        scale = (inverse.norm(1) * inverse.norm(torch.inf) / matrix.norm(1) / matrix.norm(torch.inf)) ** 0.25
        scale = scale if change > 1e-2 else torch.ones_like(scale)
        following = (scale * matrix + inverse / scale) / 2
        change = float((following - matrix).norm() / following.norm())
        matrix = following
    return matrix


def times() -> None:
    """Milliseconds of one thread and of each of two."""
    square = sum(task_vectors((768, 768)), torch.zeros(768, 768, dtype=torch.float64))
    for dtype in (torch.float32, torch.float64):
        a = square.to(dtype)
        products = gram(a)
        table = products.numpy()
        first = 768 - RANK
        rows = {
            f"scipy.linalg.eigh, {RANK} vectors": lambda t=table, f=first: scipy.linalg.eigh(
                t, driver="evr", subset_by_index=[f, 767], check_finite=False
            ),
            f"ours, {RANK} vectors": lambda p=products: largest_eigenpairs(p, RANK),
            "torch.linalg.eigh, all": lambda p=products: torch.linalg.eigh(p),
            "torch.linalg.svd": lambda m=a: torch.linalg.svd(m),
            "polar factor by Newton": lambda m=a: newton(m),
            "product": lambda m=a: m @ m.T,
            "half product": lambda m=a: gram(m),
        }
        for name, function in rows.items():
            print(f"{dtype}: {name}: {milliseconds(function, 1):.0f} ms, {milliseconds(function, 2):.0f} ms of two")


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)
        for shape in ((768, 768), (768, 3072)):
            errors(shape)
        times()
