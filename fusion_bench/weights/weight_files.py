"""Files of weights as checkpoints, whatever the weights are for: safetensors, and pickles of tensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint, FileCheckpoint, StateCheckpoint
from fusion_bench.weights.header import Header, read_header

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def open_files(paths: Sequence[Path], *, label: str, like: Checkpoint | None = None) -> Checkpoint:
    """Open the files of one model; of safetensors, the headers are read and nothing else.

    Args:
        paths: one file, or shards in natural order.
        label: how messages call it.
        like: a checkpoint whose headers this one probably has: those are parsed once.

    Raises:
        FusionBenchError: a file that cannot be read.
    """
    return _pickled(paths, label) if paths[0].suffix in _PICKLES else _files(paths, label, like)


def _files(paths: Sequence[Path], label: str, like: Checkpoint | None) -> FileCheckpoint:
    known = like.headers if isinstance(like, FileCheckpoint) and len(like.headers) == len(paths) else None
    headers: dict[Path, Header] = {}
    for number, path in enumerate(paths):
        headers[path] = read_header(path, like=known[number] if known else None)
    return FileCheckpoint(headers, label=label)


def _pickled(paths: Sequence[Path], label: str) -> StateCheckpoint:
    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise FusionBenchError(
                f"cannot read {path}: {reason}",
                hint="only tensors are read from a pickle (weights_only); save the state dict as safetensors",
            ) from error
        if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
            found = found["state_dict"]
        if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
            raise FusionBenchError(f"{path} holds no state dict", hint="it must map names to tensors")
        state.update(found)
    return StateCheckpoint(state, label=label, files=tuple(paths))
