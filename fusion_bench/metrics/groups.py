"""Compact letter displays: two runs share a letter exactly where no test tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def indistinguishable_groups(different: np.ndarray) -> list[tuple[int, ...]]:
    """The largest groups in which no two are significantly different.

    Two items share a group exactly where ``different`` is false; no group is part of another. Groups come in the order
    of their first, then next members, and members ascend.

    Source: Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons" (insert and
    absorb), here one item at a time; Gramm et al. 2007, "Algorithms for compact letter displays".

    Args:
        different: bool ``(R, R)``, symmetric, diagonal false.

    Example:
        >>> a_b_overlap_with_c = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
        >>> indistinguishable_groups(a_b_overlap_with_c)
        [(0, 2), (1, 2)]
    """
    groups: list[int] = []  # sets of items, one bit an item
    for item in range(len(different)):
        alike = sum(1 << other for other in range(item) if not different[item, other])
        bit = 1 << item
        # a group that the item fits into grows; from any other, what fits starts a group with the item
        whole = [group | bit for group in groups if group & alike == group]
        kept = [group for group in groups if group & alike != group]
        parts = {(group & alike) | bit for group in kept}
        if not whole:
            parts.add(bit)
        new = sorted({*whole, *parts}, key=lambda group: -group.bit_count())
        absorbed: list[int] = []
        for group in new:
            if not any(group & larger == group for larger in absorbed):
                absorbed.append(group)
        groups = kept + absorbed
    members = [tuple(item for item in range(len(different)) if group >> item & 1) for group in groups]
    return sorted(members)


def letters(groups: Sequence[Sequence[int]], count: int) -> list[str]:
    """For each of ``count`` items the letters of its groups: a to z, A to Z, then a2, b2, ..., joined by nothing.

    Example:
        >>> letters([(0, 2), (1, 2)], 3)
        ['a', 'b', 'ab']
    """
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    found = [""] * count
    for number, group in enumerate(groups):
        turn, place = divmod(number, len(alphabet))
        for item in group:
            found[item] += alphabet[place] + (str(turn + 1) if turn else "")
    return found
