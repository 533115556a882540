"""Rules made of functions, and the engine run on small models cut as one likes."""

from dataclasses import replace

import pytest
import torch

from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Rule
from fusion_bench.weights.selection import magnitude_cuts
from fusion_bench.weights.vectors import Vectors


class FunctionRule(Rule):
    """``prepare(scan)`` as given; optionally a task-vector rule, optionally on whole tensors."""

    def __init__(self, prepare, *, step=False, whole=lambda shape: False):
        self._prepare, self.step, self._whole = prepare, step, whole

    def prepare(self, scan):
        return self._prepare(scan)

    def whole(self, shape):
        return self._whole(shape)


@pytest.fixture
def rule():
    return FunctionRule


@pytest.fixture
def scanned():
    """``scanned(base, experts, function, **options)``: what ``function(scan)`` returns inside a run."""

    def run(base, experts, function, **options):
        found = []

        def prepare(scan):
            found.append(function(scan))
            return lambda piece: piece.base

        merge_in_memory(FunctionRule(prepare), base, experts, scaling=None, **options)
        return found[0]

    return run


@pytest.fixture
def trimmed_vector(scanned):
    """``trimmed_vector(tensors, count, **options)``: the flattened task vector with its ``count`` largest entries."""

    def run(tensors, count, **options):
        def look(scan):
            vectors = Vectors((0,), offsets=scan.offsets)
            vectors = replace(vectors, cuts=magnitude_cuts(scan, vectors, count))
            flat = torch.zeros(scan.size, dtype=torch.float64)

            def put(piece):
                kept, at = vectors.entries(piece, 0), 0
                for name, start, stop in piece.spans:
                    begin = scan.offsets[name] + start
                    flat[begin : begin + stop - start] = kept[at : at + stop - start]
                    at += stop - start

            scan.map(put, "trim")
            return flat.numpy()

        base = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        return scanned(base, {"e": tensors}, look, **options)

    return run


@pytest.fixture
def by_torch(monkeypatch):
    """``by_torch(function, ...)``: what the function returns where torch does the arithmetic, as on another device."""

    def run(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(Piece, "on_cpu", property(lambda self: False))
            return function(*args, **options)

    return run
