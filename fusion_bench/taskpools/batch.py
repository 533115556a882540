"""What a model is given at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Batch: TypeAlias = "Tensor | Mapping[str, Tensor]"
"""What a model is given at once: pictures, or a text model's arguments by name; a row of every tensor an example."""


def moved(batch: Batch, device: str) -> Batch:
    """The batch on a device; from pinned memory without waiting for the copy."""
    ahead = device.startswith("cuda")
    if isinstance(batch, Mapping):
        return {name: tensor.to(device, non_blocking=ahead) for name, tensor in batch.items()}
    return batch.to(device, non_blocking=ahead)
