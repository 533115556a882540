"""Splits of texts: whole clusters, dealt by a hash, so that one wording is in one split in every task that has it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from fusion_bench.zoo.minilm.texts import Texts

SPLITS = ("train", "validation", "adaptation", "test")
_ENDS = (("test", 0.3), ("validation", 0.38), ("adaptation", 0.5), ("train", 1.0))  # of the unit interval


def split_of(cluster: str, seed: int) -> str:
    """The split of a cluster, whatever task it is in.

    Example:
        >>> [split_of(word, 0) for word in ("moat", "lamp", "apple")]
        ['train', 'test', 'validation']
    """
    digest = hashlib.sha256(f"{seed}/{cluster}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return next(name for name, end in _ENDS if place < end)


def deal(texts: Texts, sizes: Mapping[str, int], *, seed: int) -> dict[str, Texts]:
    """The splits of a task, each cut to its size by a seeded draw."""
    rows: dict[str, list[int]] = {name: [] for name in SPLITS}
    for row, cluster in enumerate(texts.clusters):
        rows[split_of(cluster, seed)].append(row)
    drawn = {}
    for name in SPLITS:
        order = np.random.default_rng(seed).permutation(len(rows[name]))[: sizes[name]]
        drawn[name] = texts.take(sorted(rows[name][int(i)] for i in order))
    return drawn
