"""Floating types of 16 bits, which the compiled loops see as words."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HALVES = {torch.bfloat16: 0x7F80, torch.float16: 0x7C00}  # and the bits of their exponents


def words_of(entries: Tensor) -> NDArray[np.uint16]:
    """Entries of a type of 16 bits as words."""
    words: NDArray[np.uint16] = entries.view(torch.int16).numpy().view(np.uint16)
    return words
