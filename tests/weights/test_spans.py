"""Places in tensors and files."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.weights.spans import Span, laid_out, located, runs

SIZES = {"a": 7, "b": 5, "c": 9}
PLACES = {"a": (0, 8), "b": (0, 8 + 7 * 2), "c": (1, 40)}


@st.composite
def some_spans(draw):
    found = []
    for name in draw(st.lists(st.sampled_from(sorted(SIZES)), min_size=1, max_size=6)):
        start = draw(st.integers(0, SIZES[name] - 1))
        found.append(Span(name, start, draw(st.integers(start + 1, SIZES[name]))))
    return found


@given(some_spans())
def test_every_position_is_an_entry_of_a_span_in_order(spans):
    entries = [(name, entry) for name, start, stop in spans for entry in range(start, stop)]
    assert [located(spans, position) for position in range(len(entries))] == entries
    assert [entries[begin] for _, begin, _ in laid_out(spans)] == [(name, start) for name, start, _ in spans]


@given(some_spans())
def test_stretches_of_files_are_those_of_the_entries_and_joined_where_they_meet(spans):
    found = runs(spans, PLACES, 2)
    stretched = [(number, byte) for number, begin, end in found for byte in range(begin, end)]
    assert stretched == [
        (PLACES[name][0], PLACES[name][1] + 2 * entry + byte)
        for name, start, stop in spans
        for entry in range(start, stop)
        for byte in (0, 1)
    ]
    assert all((one[0], one[2]) != (other[0], other[1]) for one, other in itertools.pairwise(found))
