"""Random masks that depend on nothing but what they are for.

A mask comes from a counter-based generator (see ``philox.keep``) whose key is a hash of the seed,
the expert and the tensor's name: no order of work, chunk, thread or device can change it.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.weights.compiled.philox import mask
from fusion_bench.weights.compiled.terms import ALWAYS


def bernoulli_mask(count: int, density: float, *, seed: int, expert: str, tensor: str, start: int = 0) -> Tensor:
    """Entries ``start`` to ``start + count`` of the mask of one tensor of one expert: true with chance ``density``.

    Args:
        count: how many entries.
        density: chance of true, in [0, 1], to 2^-32; 1 keeps everything.
        seed: any non-negative integer.
        expert: the expert's name.
        tensor: the tensor's name.
        start: first entry, counted in the flattened tensor.

    Returns:
        ``bool`` tensor of shape ``(count,)`` on the CPU.

    Example:
        >>> whole = bernoulli_mask(9, 0.5, seed=0, expert="mnist", tensor="w")
        >>> torch.equal(whole[5:], bernoulli_mask(4, 0.5, seed=0, expert="mnist", tensor="w", start=5))
        True
    """
    limit = limit_of(density)
    if limit >= ALWAYS:
        return torch.ones(count, dtype=torch.bool)
    flags = np.empty(count, dtype=np.uint8)
    mask(key_of(seed, expert, tensor), start, np.uint64(limit), flags)
    return torch.from_numpy(flags.view(np.bool_))


def limit_of(density: float) -> int:
    """What a 32-bit draw must be below for an entry to stay."""
    return round(density * ALWAYS)


@lru_cache(maxsize=1 << 16)
def key_of(seed: int, expert: str, tensor: str) -> NDArray[np.uint64]:
    """The key of a mask: four numbers below 2^32."""
    identity = json.dumps([seed, expert, tensor]).encode()
    return np.frombuffer(hashlib.blake2b(identity, digest_size=16).digest(), dtype="<u4").astype(np.uint64)
