"""The next batch is made while a model works on this one."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, each after the first made by a thread while the one before is worked on.

    At most one item is made ahead. What ``items`` raises is raised here, in its place. When the caller stops early, the
    item under way is waited for, ``items`` is closed, and no thread is left.

    Example:
        >>> list(ahead(iter("abc")))
        ['a', 'b', 'c']
    """
    end: Any = object()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="fusion_bench-ahead") as maker:
            item = next(items, end)
            while item is not end:
                following = maker.submit(next, items, end)
                yield item
                item = following.result()
    finally:
        if isinstance(items, Generator):
            items.close()
