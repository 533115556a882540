"""Task vectors thinned, scaled, trimmed and added up: compiled loops, torch and plain NumPy give the same bits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_bench.weights.masks import bernoulli_mask
from fusion_bench.weights.pieces import BASE
from fusion_bench.weights.vectors import Cut, Thinning, Vectors, block_sums, pair_sums

SHAPES = {"b": (33, 70), "a": (77,), "c": (), "d": (0, 4), "e": (5000,)}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def models(count=3, dtype=torch.float32, seed=0, shapes=SHAPES):
    g = torch.Generator().manual_seed(seed)
    base, *experts = ({n: torch.randn(s, generator=g).to(dtype) for n, s in shapes.items()} for _ in range(count + 1))
    return base, {f"e{i}": expert for i, expert in enumerate(experts)}


def per_tensor(scanned, base, experts, value, **options):
    """``value(scan, piece)``: one number per entry; put together again by tensor."""
    parts = {}

    def look(scan):
        def one(piece):
            found, at = value(scan, piece), 0
            for name, start, stop in piece.spans:
                parts[name, start] = found[at : at + stop - start].double().numpy()
                at += stop - start

        scan.map(one, "look")

    scanned(base, experts, look, **options)
    names = sorted({name for name, _ in parts})
    return {n: np.concatenate([parts[key] for key in sorted(parts) if key[0] == n]) for n in names}


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


RECIPES = {
    "sum": Vectors((0, 1, 2)),
    "weights": Vectors((0, 1, 2), centred=False, factors=(0.2, 0.3, 0.5)),
    "path": Vectors((BASE, 1), centred=False, factors=(0.75, 0.25)),
    "by tensor": Vectors((0, 1), factors=(2.0 / 3, 1.0), thinning=Thinning(0.3, 7)),
    "thinned": Vectors((0, 1, 2), thinning=Thinning(0.5, 3), factors=(2.0, 2.0, 2.0)),
    "trimmed": Vectors((0, 1, 2), cuts=(Cut(0.5), Cut(-1.0), Cut(math.inf))),
    "all": Vectors((2, 0), thinning=Thinning(0.5, 3), factors=(2.0, 3.0), cuts=(Cut(0.7), Cut(2.0))),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_sum_is_what_numpy_makes_of_the_definition(recipe, dtype, scanned, by_torch):
    base, experts = models(dtype=dtype)
    vectors = RECIPES[recipe]
    expected = {}
    for name in SHAPES:
        total = 0.0
        for at, model in enumerate(vectors.models):
            state = base if model == BASE else experts[f"e{model}"]
            entries = state[name].double().numpy().ravel()
            if vectors.centred:
                entries = entries - base[name].double().numpy().ravel()
            if vectors.factors:
                entries = entries * vectors.factors[at]
            if vectors.thinning:
                density, seed = vectors.thinning
                kept = bernoulli_mask(entries.size, density, seed=seed, expert=f"e{model}", tensor=name)
                entries = np.where(kept.numpy(), entries, 0.0)
            if vectors.cuts:
                entries = np.where(np.abs(entries) < vectors.cuts[at].threshold, 0.0, entries)
            total = total + entries
        expected[name] = total

    def total(scan, piece):
        return replace(vectors, offsets=scan.offsets).total(piece)

    expected.pop("d")  # has no entry, so no piece
    same(per_tensor(scanned, base, experts, total), expected)
    same(per_tensor(scanned, base, experts, total, chunk=4096, threads=2), expected)
    same(per_tensor(scanned, base, experts, total, chunk=7), expected)
    same(by_torch(per_tensor, scanned, base, experts, total), expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_of_equal_entries_those_up_to_the_last_position_survive(scanned, by_torch, data):
    sizes = data.draw(st.lists(st.integers(1, 2500), min_size=1, max_size=4))
    last = data.draw(st.integers(0, sum(sizes)))
    names = data.draw(st.permutations([f"t{i}" for i in range(len(sizes))]))  # the order of data is not that of names
    base = {n: torch.zeros(s) for n, s in zip(names, sizes, strict=True)}
    expert = {n: torch.ones_like(t) for n, t in base.items()}

    def kept(scan, piece):
        return Vectors((0,), cuts=(Cut(1.0, last),), offsets=scan.offsets).entries(piece, 0)

    for run in (per_tensor, lambda *args: by_torch(per_tensor, *args)):
        found = run(scanned, base, {"e": expert}, kept)
        flat = np.concatenate([found[name] for name in sorted(names)])
        np.testing.assert_array_equal(flat, np.arange(flat.size) <= last)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_lies_between_bounds_is_found_wherever_it_is(dtype, scanned, by_torch):
    base, experts = models(2, dtype=dtype)
    bounds = {0: (0.0, 0.4), 1: (1.5, 1.6)}  # the first: more than is made room for at first

    def look(scan):
        def one(piece):
            found = Vectors((0, 1)).between(piece, bounds)
            for at, (above, sizes, places) in found.items():
                whole = np.abs(piece.delta(at).numpy())
                low, high = bounds[at]
                assert above == np.count_nonzero(whole > high)
                np.testing.assert_array_equal(places, np.flatnonzero((whole >= low) & (whole <= high)))
                np.testing.assert_array_equal(sizes, whole[places])
            return piece.count

        return sum(scan.map(one, "look"))

    assert scanned(base, experts, look) == by_torch(scanned, base, experts, look) > 7000


@pytest.mark.parametrize("dtype", DTYPES)
def test_block_sums_of_kernels_and_torch_are_the_same_and_near_the_exact_sum(dtype, scanned, by_torch):
    base, experts = models(2, dtype=dtype)
    vectors = Vectors((0, 1), thinning=Thinning(0.5, 1))

    def look(scan):
        return scan.map(lambda piece: (vectors.magnitude_sums(piece), pair_sums(piece, BASE, 1)), "look")

    def exact(scan):
        def sums(piece):
            a, b = piece.base, piece.weights(1)
            return block_sums(piece, [a**2, b**2, (a - b) ** 2, (a + b) ** 2])

        return scan.map(sums, "look")

    (mine,), (torchs,), (reference,) = (
        scanned(base, experts, look),
        by_torch(scanned, base, experts, look),
        scanned(base, experts, exact),
    )
    for one, other in zip(mine, torchs, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(mine[1], reference)
    e = (experts["e1"]["e"].double() - base["e"].double()).square()
    assert mine[1][-2:, 2].sum() == pytest.approx(math.fsum(e.tolist()), rel=1e-13)


def test_nan_and_infinity_stay_what_they_are_where_they_are_allowed(scanned, by_torch):
    base = {"w": torch.zeros(4)}
    expert = {"w": torch.tensor([math.nan, math.inf, -math.inf, 1.0])}

    def kept(scan, piece):
        return Vectors((0,), cuts=(Cut(2.0, 3),), offsets=scan.offsets).entries(piece, 0)

    for run in (per_tensor, lambda *args, **options: by_torch(per_tensor, *args, **options)):
        found = run(scanned, base, {"e": expert}, kept, on_non_finite="allow")
        np.testing.assert_array_equal(found["w"], [math.nan, math.inf, -math.inf, 0.0])
