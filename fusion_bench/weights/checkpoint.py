"""A checkpoint: one lazy mapping of names to tensors, wherever the tensors are.

What tensors mean here, for every kind of checkpoint:

- Floating tensors are fused. All others (counters, indices, masks) are carried over from the base.
- A tensor is its values in row-major order. Strides are not kept; 0-d and empty tensors are tensors like others.
- Names that share one memory in the base and in every expert (tied weights of a state dict) are one tensor: fused once,
  under the first name, and shared again in the result. Anything less than sharing all of it is no tie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.header import Spec
from fusion_bench.weights.spans import Span


class Factors(NamedTuple):
    """A low-rank task vector Δ = ``left`` (m, r) · ``right`` (r, n), ``float64``."""

    left: Tensor
    right: Tensor


TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files of tokenizers that say all their tokens in plain text."""


def tokenizer_in(folder: Path) -> Path | None:
    """The first of these in a folder."""
    return next((folder / name for name in TOKENIZERS if (folder / name).is_file()), None)


class Checkpoint(Mapping[str, Tensor], ABC):
    """Names to tensors; ``specs`` tells shapes and types without reading any.

    Attributes:
        label: how messages call it: a path, or a given name.
        specs: names to shape and type, in the order of the data.
        notes: what had to be decided when it was opened, in words.
    """

    label: str
    notes: tuple[str, ...] = ()
    specs: Mapping[str, Spec]

    @abstractmethod
    def gather(self, spans: Sequence[Span]) -> Tensor:
        """The entries of several spans of one type, one after the other, as a flat tensor not to be written to."""

    def fill(self, spans: Sequence[Span], row: Tensor) -> None:
        """Write what ``gather`` gives to a flat tensor of its size, converted to its type."""
        row.copy_(self.gather(spans))

    def __getitem__(self, name: str) -> Tensor:
        spec = self.specs[name]
        return self.gather([Span(name, 0, spec.numel)]).reshape(spec.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def place(self, name: str) -> str:
        """Where a tensor is, for messages."""
        return self.label

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return torch.device("cpu")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return ()

    @property
    def tokenizer(self) -> Path | None:
        """The file that says which token a row of an embedding is of; None where none lies beside the weights."""
        return tokenizer_in(self.files[0].parent) if self.files else None

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names that are another name's tensor, to that name."""
        return {}

    def factors(self, name: str) -> Factors | None:
        """The low-rank difference to its base, where it is stored as one."""
        return None

    def close(self) -> None:
        """Give files back; reading is over."""


class StateCheckpoint(Checkpoint):
    """A state dict in memory.

    Example:
        >>> checkpoint = StateCheckpoint({"w": torch.arange(6.0).reshape(2, 3)}, label="mine")
        >>> checkpoint.gather([Span("w", 1, 3)]), checkpoint["w"].shape
        (tensor([1., 2.]), torch.Size([2, 3]))
    """

    def __init__(
        self, state: Mapping[str, Tensor], *, label: str, files: tuple[Path, ...] = (), notes: tuple[str, ...] = ()
    ) -> None:
        self.label, self._files, self.notes = label, files, notes
        for name, tensor in state.items():
            if not isinstance(tensor, Tensor):
                raise FusionBenchError(
                    f"{label}: {name!r} is a {type(tensor).__name__}, not a tensor",
                    hint="give a state dict: names to tensors",
                )
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
                kind = "holds no numbers" if tensor.is_meta else "is sparse or quantised"
                raise FusionBenchError(f"{label}: tensor {name!r} {kind}", hint="give dense tensors")
        self._state = {name: tensor.detach() for name, tensor in state.items()}
        self.specs = {name: Spec(tuple(t.shape), t.dtype) for name, t in self._state.items()}
        self._flat: dict[str, Tensor] = {}

    def gather(self, spans: Sequence[Span]) -> Tensor:
        parts = [self._flattened(span.name)[span.start : span.stop] for span in spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __getitem__(self, name: str) -> Tensor:
        return self._state[name]

    @property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in self._state.values()), torch.device("cpu"))

    @property
    def files(self) -> tuple[Path, ...]:
        return self._files

    @property
    def aliases(self) -> Mapping[str, str]:
        first: dict[tuple[object, ...], str] = {}
        found = {}
        for name, t in self._state.items():
            if t.numel():
                key = (t.device, t.data_ptr(), t.dtype, tuple(t.shape), t.stride())
                if first.setdefault(key, name) != name:
                    found[name] = first[key]
        return found

    def _flattened(self, name: str) -> Tensor:
        if name not in self._flat:  # a strided tensor is copied once; two threads that both do it copy the same
            self._flat[name] = self._state[name].reshape(-1)
        return self._flat[name]
