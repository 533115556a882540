"""Philox 4x32-10, a random generator without state: draws are a function of a key and a counter.

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

import numpy as np
from numba import njit

COUNTERS = 64  # of a group
GROUP = 4 * COUNTERS  # draws of a group

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@njit(nogil=True, cache=True)
def philox(key, first, count, draws):
    """Draws of ``count`` groups of counters, from group ``first`` on: ``uint32``, ``GROUP`` each.

    A group is 64 counters one after the other: first the first words of all their results, then the second words, the
    third and the fourth; so a processor works on many counters at once.

    Args:
        key: four ``uint64`` below 2³²: the two words of the key, and the two upper words of every counter.
        first: number of the first group.
        count: how many groups.
        draws: written to.

    Example:
        >>> draws = np.empty(GROUP, np.uint32)
        >>> philox(np.zeros(4, np.uint64), 0, 1, draws)
        >>> [hex(word) for word in draws[::COUNTERS]]  # as published for counter 0 and key 0
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    for group in range(count):
        words = draws[GROUP * group : GROUP * (group + 1)].reshape(4, COUNTERS)
        w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
        begin = np.uint64(COUNTERS) * np.uint64(first + group)
        for i in range(COUNTERS):
            counter = begin + np.uint64(i)
            x0, x1, x2, x3 = counter & _LOW, counter >> _HALF, key[2], key[3]
            k0, k1 = key[0], key[1]
            for _ in range(10):
                p, q = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
                x0, x1, x2, x3 = (q >> _HALF) ^ x1 ^ k0, q & _LOW, (p >> _HALF) ^ x3 ^ k1, p & _LOW
                k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
            w0[i], w1[i], w2[i], w3[i] = np.uint32(x0), np.uint32(x1), np.uint32(x2), np.uint32(x3)


@njit(nogil=True, cache=True)
def draw(keys, starts, bounds, out):
    """Draws for some models, a row each, and some stretches of them.

    Args:
        keys: (models, stretches, 4).
        starts: (stretches), the number of the first draw of each stretch.
        bounds: (stretches + 1), where the stretches begin and end in a row.
        out: (models, draws), written to.
    """
    group = np.empty(GROUP, np.uint32)
    for row in range(keys.shape[0]):
        for s in range(starts.size):
            at, end, number = bounds[s], bounds[s + 1], starts[s]
            while at < end:
                skipped = number % GROUP
                count = min(GROUP - skipped, end - at)
                philox(keys[row, s], number // GROUP, 1, group)
                for i in range(count):
                    out[row, at + i] = group[skipped + i]
                at += count
                number += count
