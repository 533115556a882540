"""Work shared out to threads, with one result whatever their number."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

_GLANCE = 0.1  # seconds between two looks at how far the threads are


def map_in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    threads: int,
    tick: Callable[[int], None] = lambda done: None,
    blas: bool = False,
) -> list[Result]:
    """``[function(item) for item in items]``, by several threads.

    Args:
        function: must not depend on other items.
        items: shared out one at a time, in order.
        threads: how many; each runs its tensor operations on itself alone, so sums do not depend on their number.
        blas: keep SciPy's linear algebra to one thread for each of these, too (finding its libraries takes 20 ms).
        tick: told now and then, by the calling thread, how many items are done.

    Raises:
        Exception: what ``function`` raised for the earliest item; no thread is left running.

    Example:
        >>> map_in_threads(lambda x: x * x, [1, 2, 3], threads=2)
        [1, 4, 9]
    """
    results: list[Result] = [None] * len(items)  # type: ignore[list-item]
    failures: list[tuple[int, BaseException]] = []
    counter, stop = itertools.count(), threading.Event()
    workers = range(min(threads, len(items)))
    done, ended = [0 for _ in workers], [threading.Event() for _ in workers]

    def work(worker: int) -> None:
        torch.set_num_threads(1)
        while not stop.is_set():
            number = next(counter)
            if number >= len(items):
                break
            try:
                results[number] = function(items[number])
            except BaseException as error:
                failures.append((number, error))
                stop.set()
            done[worker] += 1
        ended[worker].set()

    with _own_thread_count(), threadpool_limits(1, user_api="blas") if blas else nullcontext():
        running = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
        for thread in running:
            thread.start()
        try:
            # not by join: where Ctrl-C breaks into that, Python takes the thread for ended (bpo-45274), leaves while it
            # still runs, and aborts
            for worker in workers:
                while not ended[worker].wait(_GLANCE):
                    tick(sum(done))
        finally:
            stop.set()
            for worker in workers:
                ended[worker].wait()
            for thread in running:
                thread.join()
    if failures:
        raise min(failures, key=lambda failure: failure[0])[1]
    tick(len(items))
    return results


@contextmanager
def _own_thread_count() -> Iterator[None]:
    """Put torch's number of threads back, which workers set for themselves and thereby for threads to come."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
