"""A checkpoint that is another one but for what a subclass says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fusion_bench.weights.checkpoint import Checkpoint, Factors
from fusion_bench.weights.spans import Span


class Wrapped(Checkpoint):
    """Passes everything on to ``inner``.

    A subclass that changes tensors says so in ``specs``, ``gather``, ``factors`` (which are of the tensors as they are
    inside) and ``aliases`` (a tie inside is none where one of the two is changed alone).
    """

    def __init__(self, inner: Checkpoint) -> None:
        self.label, self.notes, self.specs, self._inner = inner.label, inner.notes, inner.specs, inner

    def gather(self, spans: Sequence[Span]) -> Tensor:
        return self._inner.gather(spans)

    def place(self, name: str) -> str:
        return self._inner.place(name)

    def factors(self, name: str) -> Factors | None:
        return self._inner.factors(name)

    @property
    def device(self) -> torch.device:
        return self._inner.device

    @property
    def files(self) -> tuple[Path, ...]:
        return self._inner.files

    @property
    def tokenizer(self) -> Path | None:
        return self._inner.tokenizer

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._inner.aliases

    def close(self) -> None:
        self._inner.close()
