"""Checkpoint files: safetensors in and out, published atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.files import replacing
from fusion_bench.weights.state_dict import StateDict


def read_state_dict(
    path: str | os.PathLike[str], *, prefix: str = "", dtype: torch.dtype | None = torch.float32
) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: the file.
        prefix: read only tensors whose names start so (the names are kept whole).
        dtype: floating tensors become this (half precision on disk, ``float32`` in memory); ``None`` keeps them.

    Returns:
        Tensor names to new tensors, in the order of their names; other than floating tensors as they are on disk.

    Raises:
        FusionBenchError: no such file, a truncated or otherwise damaged one, or none of its tensors has the prefix.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_state_dict(Path(folder) / "m.safetensors", {"w": torch.ones(2).half()})
        ...     read_state_dict(path)
        {'w': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.is_file():
        there = [p.name for p in path.parent.glob("*.safetensors")] if path.parent.is_dir() else []
        near = nearest(path.name, there)
        raise FusionBenchError(
            f"no checkpoint file {path}", hint=f"the folder has: {', '.join(near or sorted(there)[:8]) or 'none'}"
        )
    state: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            for name in names:
                if name.startswith(prefix):
                    tensor = file.get_tensor(name)
                    floating = dtype is not None and tensor.is_floating_point()
                    state[name] = tensor.to(dtype) if floating else tensor
    except (SafetensorError, OSError, ValueError) as error:
        raise FusionBenchError(
            f"cannot read {path} ({path.stat().st_size:,} bytes): {error}",
            hint="the file is truncated, damaged or not safetensors; fetch it again",
        ) from error
    if names and not state:
        raise FusionBenchError(f"{path} has no tensor named {prefix}*", hint=f"its first is {names[0]!r}")
    return state


def write_state_dict(
    path: str | os.PathLike[str],
    state: StateDict,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a safetensors file under its final name only when it is complete.

    Args:
        path: the file to make or replace; its folder is made.
        state: the tensors; aliased and strided ones are written as separate dense copies.
        dtype: floating tensors are stored as this; ``None`` keeps them.
        metadata: strings for the file's header.

    Raises:
        FusionBenchError: the folder cannot be written (permissions, no space left), or a finite value does not fit
            ``dtype``. Whatever was there before is then still there, and no temporary file stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_state_dict(Path(folder) / "m.safetensors", {"w": torch.ones(2)})
        ...     [p.name for p in Path(folder).iterdir()]
        ['m.safetensors']
    """
    path = Path(path)
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in state.items()}
    try:
        with replacing(path) as part:
            save_file(tensors, part, metadata=dict(metadata) if metadata else None)
    except (SafetensorError, OSError) as error:
        raise FusionBenchError(
            f"cannot write {path}: {error}", hint="check the folder's permissions and space"
        ) from error
    return path


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu()
    if dtype is not None and tensor.is_floating_point():
        stored = tensor.to(dtype)
        if bool((tensor.isfinite() & ~stored.isfinite()).any()):
            largest = float(tensor[tensor.isfinite()].abs().max())
            raise FusionBenchError(
                f"tensor {name!r} does not fit {dtype}: its largest magnitude is {largest:g}",
                hint="store it as float32 or bfloat16",
            )
        tensor = stored
    return tensor.contiguous().clone()  # dense, and no storage shared with another tensor: safetensors refuses both
