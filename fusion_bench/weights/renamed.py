"""A part of a checkpoint, or all of it, under other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fusion_bench.weights.checkpoint import Checkpoint, Factors
from fusion_bench.weights.file_checkpoint import FileCheckpoint
from fusion_bench.weights.spans import Span
from fusion_bench.weights.wrapped import Wrapped


class Renamed(Wrapped):
    """Tensors of a checkpoint under other names; those that are not named are not there.

    Args:
        checkpoint: what it is.
        names: of every tensor that it shall have, to the name that it is stored under.

    Example:
        >>> import torch
        >>> from fusion_bench.weights.checkpoint import StateCheckpoint
        >>> whole = StateCheckpoint({"tower.w": torch.ones(2), "head.w": torch.zeros(3)}, label="mine")
        >>> dict(Renamed(whole, {"w": "tower.w"}))
        {'w': tensor([1., 1.])}
    """

    def __init__(self, checkpoint: Checkpoint, names: Mapping[str, str]) -> None:
        super().__init__(checkpoint)
        self._names = names
        self.specs = {name: checkpoint.specs[stored] for name, stored in names.items()}

    def gather(self, spans: Sequence[Span]) -> Tensor:
        return super().gather([span._replace(name=self._names[span.name]) for span in spans])

    def place(self, name: str) -> str:
        return super().place(self._names[name])

    def factors(self, name: str) -> Factors | None:
        return super().factors(self._names[name])

    @property
    def aliases(self) -> Mapping[str, str]:
        inside, first = super().aliases, dict[str, str]()
        found = {name: first.setdefault(inside.get(stored, stored), name) for name, stored in self._names.items()}
        return {name: other for name, other in found.items() if name != other}


def renamed(checkpoint: Checkpoint, names: Mapping[str, str]) -> Checkpoint:
    """A part of a checkpoint, or all of it, under other names; the checkpoint itself where nothing changes.

    Args:
        checkpoint: what it is.
        names: of every tensor of the result, to the name that it is stored under.
    """
    if len(names) == len(checkpoint.specs) and all(name == stored for name, stored in names.items()):
        return checkpoint
    return checkpoint.part(names) if isinstance(checkpoint, FileCheckpoint) else Renamed(checkpoint, names)
