"""Batches made ahead: the same, in order, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fusion_bench.taskpools.ahead import ahead


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fusion_bench-ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_same_items_in_order(count: int) -> None:
    assert list(ahead(iter(range(count)))) == list(range(count))
    assert not running()


def test_one_item_is_made_while_the_caller_works() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for index in range(5):
            made.append(index)
            yield index

    for index in ahead(items()):
        until = time.monotonic() + 5
        while len(made) < min(index + 2, 5):  # without a thread it would never be
            assert time.monotonic() < until
            time.sleep(0.001)
        assert len(made) == min(index + 2, 5)


def test_an_exception_comes_through_after_what_was_made_before() -> None:
    def items() -> Iterator[int]:
        yield 0
        yield 1
        raise ValueError("damaged")

    made = ahead(items())
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="damaged"):
        next(made)
    assert not running()


@pytest.mark.parametrize("ending", ["break", "error"])
def test_nothing_is_left_when_the_caller_stops(ending: str) -> None:
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    def work() -> None:
        for item in ahead(items()):
            if item == 2 and ending == "break":
                break
            if item == 2:
                raise RuntimeError("the model")

    if ending == "break":
        work()
    else:
        with pytest.raises(RuntimeError, match="the model"):
            work()
    assert closed == [True]
    assert not running()
