"""What a node id tells about its case. Under xdist the controller knows the cases by nothing else."""

from __future__ import annotations

import re

_CASE = re.compile(
    r"\[(?P<case>(?P<algorithm>[^-\[\]]+(?:\[.*\])?)-(?P<modelpool>[^-\[\]]+)-(?P<taskpool>[^-\[\]]+))\]$"
)


def case_id_of(nodeid: str) -> str | None:
    """The case id at the end of a node id; None where there is nothing of that shape.

    Example:
        >>> case_id_of("bench/bench_fusion.py::bench_fusion[ties[scaling=-0.4]-clip_mini-mini8]")
        'ties[scaling=-0.4]-clip_mini-mini8'
    """
    found = _CASE.search(nodeid)
    return found["case"] if found else None


def pool_of(nodeid: str) -> str | None:
    """The model pool in a node id that ends in a case id; None for any other test.

    Example:
        >>> pool_of("bench/bench_fusion.py::bench_fusion[ties[scaling=-0.4]-clip_mini-mini8]")
        'clip_mini'
        >>> pool_of("tests/test_merge.py::test_merge[ties]")
    """
    found = _CASE.search(nodeid)
    return found["modelpool"] if found else None
