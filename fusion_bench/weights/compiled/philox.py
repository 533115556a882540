"""Philox 4x32-10, a random generator without state, and masks drawn from it: functions of a key and a position.

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fusion_bench.weights.compiled.loops import loop, part

COUNTERS = 64  # of a group
GROUP = 4 * COUNTERS  # draws of a group
BYTES = 4 * GROUP
ROOM = GROUP + BYTES // 4  # what ``keep`` works in

_LOW, _HALF, _ONE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@njit(inline="always")
def _rounds(x0, x1, x2, x3, k0, k1):
    """Four words of 32 bits, with anything above: to cut that off only where it is multiplied saves a third."""
    for _ in range(10):
        p, q = (x0 & _LOW) * _MULTIPLIERS[0], (x2 & _LOW) * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (q >> _HALF) ^ x1 ^ k0, q, (p >> _HALF) ^ x3 ^ k1, p
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return x0, x1, x2, x3


@part
def _draw(key, group, draws):
    w0, w1, w2, w3 = draws[:64], draws[64:128], draws[128:192], draws[192:256]
    begin = np.uint64(COUNTERS) * np.uint64(group)
    for i in range(COUNTERS):
        counter = begin + np.uint64(i)
        x0, x1, x2, x3 = _rounds(counter, counter >> _HALF, key[2], key[3], key[0], key[1])
        w0[i], w1[i], w2[i], w3[i] = np.uint32(x0), np.uint32(x1), np.uint32(x2), np.uint32(x3)


@loop
def philox(key, group, draws):
    """The draws of one group of counters.

    A group is 64 counters one after the other: first the first words of all their results, then the second words, the
    third and the fourth; so a processor works on many counters at once.

    Args:
        key: four ``uint64`` below 2³²: the two words of the key, and the two upper words of every counter.
        group: its number.
        draws: ``GROUP`` of them, ``uint32``, written to.

    Example:
        >>> draws = np.empty(GROUP, np.uint32)
        >>> philox(np.zeros(4, np.uint64), 0, draws)
        >>> [hex(word) for word in draws[::COUNTERS]]  # as published for counter 0 and key 0
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    _draw(key, group, draws)


@part
def keep(key, first, limit, flags, room):
    """Which of some entries stay: those whose draw of 32 bits is below a limit.

    The uppermost byte of an entry's draw is a byte of the stream, in its order. Only where that equals the limit's
    uppermost byte, which happens once in 256, are the other 24 bits looked at: of a draw at the entry's own number,
    from a stream of its own. So a mask takes a quarter of the draws and is as fine as if it took all.

    Args:
        key: see ``philox``.
        first: number of the first entry.
        limit: below 2³².
        flags: ``uint8``, one per entry: 1 where it stays; written to.
        room: ``ROOM`` of ``uint32``, written to.
    """
    draws = room[:GROUP]
    drawn = draws.view(np.uint8)
    upper, rest = np.uint8(limit >> np.uint64(24)), limit & np.uint64(0xFFFFFF)
    at = 0
    while at < flags.size:
        skipped = (first + at) % BYTES
        count = min(BYTES - skipped, flags.size - at)
        here, stay = drawn[skipped : skipped + count], flags[at : at + count]
        _draw(key, (first + at) // BYTES, draws)
        _below(here, upper, stay)
        if rest > 0:
            _settle(key, first + at, here, upper, rest, stay, room[GROUP:])
        at += count


@part
def _below(drawn, upper, flags):
    for i in range(flags.size):
        flags[i] = np.uint8(drawn[i] < upper)


@part
def _settle(key, first, drawn, upper, rest, flags, room):
    """The entries whose uppermost byte equals the limit's."""
    equal, words = room.view(np.uint8), room.view(np.uint64)
    words[(flags.size - 1) // 8] = 0
    for i in range(flags.size):
        equal[i] = np.uint8(drawn[i] == upper)
    for word in range((flags.size + 7) // 8):
        if words[word] != 0:  # few are equal: eight at a glance
            for i in range(8 * word, min(8 * word + 8, flags.size)):
                if equal[i] != 0:
                    number = np.uint64(first + i)
                    lower, _, _, _ = _rounds(number, number >> _HALF, key[2], key[3] ^ _ONE, key[0], key[1])
                    flags[i] = np.uint8((lower & np.uint64(0xFFFFFF)) < rest)


@loop
def mask(key, first, limit, flags):
    """``keep``, for one call."""
    keep(key, first, limit, flags, np.empty(ROOM, np.uint32))
