"""Entries that are not finite: found fast, and named by tensor, file and position."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.header import Spec
from fusion_bench.weights.spans import Span, located


def looks_finite(entries: Tensor) -> bool:
    """Whether the sum of squares is finite; False also where finite entries overflow it.

    Example:
        >>> looks_finite(torch.ones(3)), looks_finite(torch.tensor([1.0, float("inf")]))
        (True, False)
    """
    if entries.dtype in (torch.float16, torch.float8_e4m3fn, torch.float8_e5m2):
        entries = entries.float()  # squares of half precision overflow all the time
    return math.isfinite(float(torch.dot(entries, entries)))


def refuse_non_finite(entries: Tensor, spans: Sequence[Span], checkpoint: Checkpoint) -> None:
    """Raise where an entry is NaN or infinite, naming tensor, file and position.

    Raises:
        FusionBenchError: there is one.
    """
    bad = ~entries.isfinite()
    if not bool(bad.any()):
        return
    first = int(bad.nonzero()[0])
    name, entry = located(spans, first)
    index = unravelled(entry, checkpoint.specs[name])
    raise FusionBenchError(
        f"{checkpoint.place(name)}: tensor {name!r} has a non-finite entry at {index}: {float(entries[first])}",
        hint="the checkpoint is damaged, or its training diverged",
    )


def unravelled(position: int, spec: Spec) -> list[int]:
    """The indices of an entry of a flattened tensor.

    Example:
        >>> unravelled(5, Spec((2, 3), torch.float32))
        [1, 2]
    """
    index: list[int] = []
    for size in reversed(spec.shape):
        position, rest = divmod(position, size)
        index.insert(0, rest)
    return index
