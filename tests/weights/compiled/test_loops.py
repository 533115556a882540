"""Where nothing can be kept on disk, loops are compiled all the same."""

from numba import njit

from fusion_bench.weights.compiled import loops


def test_without_a_folder_for_the_cache(monkeypatch):
    def nowhere(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")  # as numba says it
        return njit(**options)

    monkeypatch.setattr(loops, "njit", nowhere)

    @loops.loop
    def double(x):
        return 2 * x

    assert double(3) == 6
