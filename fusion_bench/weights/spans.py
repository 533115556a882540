"""Places in tensors and in files: entries of flattened tensors, one stretch after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Entries ``start`` to ``stop`` of a flattened tensor."""

    name: str
    start: int
    stop: int


def laid_out(spans: Sequence[Span]) -> Iterator[tuple[Span, int, int]]:
    """Each span with where its entries begin and end when all stand one after the other.

    Example:
        >>> [(begin, end) for _, begin, end in laid_out([Span("a", 3, 5), Span("b", 0, 4)])]
        [(0, 2), (2, 6)]
    """
    at = 0
    for span in spans:
        yield span, at, at + span.stop - span.start
        at += span.stop - span.start


def located(spans: Sequence[Span], position: int) -> tuple[str, int]:
    """The tensor, and the entry of it, that stands at a position of the spans laid out.

    Example:
        >>> located([Span("a", 3, 5), Span("b", 0, 4)], 3)
        ('b', 1)
    """
    return next((span.name, span.start + position - at) for span, at, end in laid_out(spans) if position < end)


def runs(spans: Sequence[Span], places: Mapping[str, tuple[int, int]], size: int) -> list[tuple[int, int, int]]:
    """Spans as stretches of bytes in files (number, begin, end), those that follow one another in a file joined.

    Args:
        spans: of tensors of one type.
        places: names to file and position of the first byte.
        size: bytes of an entry.
    """
    found: list[tuple[int, int, int]] = []
    for name, start, stop in spans:
        number, offset = places[name]
        begin, end = offset + start * size, offset + stop * size
        if found and found[-1][0] == number and found[-1][2] == begin:
            begin = found.pop()[1]
        found.append((number, begin, end))
    return found
