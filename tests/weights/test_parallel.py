"""Threads: results in order, errors handed on, settings put back."""

import os
import signal
import threading
import time

import pytest
import torch

from fusion_bench.weights.parallel import map_in_threads


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_are_in_the_order_of_the_items(threads):
    def slow_first(x):
        time.sleep(0.02 if x == 0 else 0)
        return x * x

    assert map_in_threads(slow_first, range(20), threads=threads) == [x * x for x in range(20)]
    assert map_in_threads(slow_first, [], threads=threads) == []


def test_the_error_of_the_earliest_item_is_raised_and_no_thread_stays():
    before, seen = threading.active_count(), []

    def fail(x):
        seen.append(x)
        if x >= 3:
            raise ValueError(x)

    with pytest.raises(ValueError, match="3"):
        map_in_threads(fail, range(1000), threads=2)
    assert threading.active_count() == before
    assert len(seen) < 10


@pytest.mark.parametrize("blas", [True, False])
def test_each_thread_works_alone_and_the_setting_is_put_back(blas):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(map_in_threads(lambda _: torch.get_num_threads(), range(4), threads=2, blas=blas)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_caller_is_told_how_far_it_is():
    told = []
    map_in_threads(lambda _: time.sleep(0.06), range(6), threads=2, tick=told.append)
    assert told[-1] == 6
    assert told == sorted(told)


def test_an_interrupt_leaves_no_thread_at_work():
    """Ctrl-C in a thread's join makes Python believe that it has ended; the process would abort at its end."""
    busy, caught = [], False

    def work(number):
        busy.append(number)
        time.sleep(0.05 if number else 1.0)
        busy.remove(number)

    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        map_in_threads(work, range(8), threads=2)
    except KeyboardInterrupt:
        caught = True
    timer.join()
    assert caught
    assert not busy
