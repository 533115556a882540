"""Random masks that depend on nothing but what they are for.

Entry *i* is draw *i* of a counter-based generator (Philox 4x64, Salmon et al. 2011) whose key is a hash of the seed,
the expert and the tensor's name: no order of work, chunk, thread or device can change it.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

_DRAWS_PER_COUNT = 8  # Philox 4x64 yields four 64-bit words per step of its counter; each serves for two draws


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
    limit = round(density * 2**32)
    if limit >= 2**32:
        return torch.ones(count, dtype=torch.bool)
    identity = json.dumps([seed, expert, tensor]).encode()
    key = np.frombuffer(hashlib.blake2b(identity, digest_size=16).digest(), dtype="<u8")
    counts, skipped = divmod(start, _DRAWS_PER_COUNT)
    stream = np.random.Philox(key=key, counter=0)
    stream.advance(counts)
    generator, words_needed = np.random.Generator(stream), (skipped + count + 1) // 2
    # the raw words of the stream, by the call that lets other threads go on meanwhile
    words = generator.integers(0, 2**64 - 1, size=words_needed, dtype=np.uint64, endpoint=True)
    draws = words.astype("<u8", copy=False).view("<u4")[skipped : skipped + count]
    return torch.from_numpy(draws < np.uint32(limit))
