"""From a path, or a state dict, to a checkpoint."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.weights.adapter import open_adapter
from fusion_bench.weights.checkpoint import Checkpoint, StateCheckpoint
from fusion_bench.weights.suffixes import PICKLES
from fusion_bench.weights.weight_files import ADAPTER, ADAPTER_WEIGHTS, open_files

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Tensor] | Checkpoint"
"""A safetensors file, a Hugging Face folder, a PEFT adapter's folder, a ``.bin`` or ``.pt`` file, or a state dict."""

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_OF_TRAINING = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")  # pickles that are no models
_SINGLE = ("model.safetensors", "pytorch_model.bin")


def open_checkpoint(
    source: Source, *, label: str | None = None, base: Checkpoint | None = None, like: Checkpoint | None = None
) -> Checkpoint:
    """Open a checkpoint; of files, the headers are read and nothing else.

    Args:
        source: what to open.
        label: how messages call it; the path by default.
        base: the model that an adapter adapts.
        like: a checkpoint whose headers this one probably has: those are parsed once.

    Raises:
        FusionBenchError: nothing there, nothing that can be read, a shard that is missing, an adapter without a base.

    Example:
        >>> import torch
        >>> list(open_checkpoint({"w": torch.ones(1)}, label="mine"))
        ['w']
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, Mapping):
        return StateCheckpoint(source, label=label or "the state dict")
    path = Path(source).expanduser()
    label = label or str(path)
    if path.is_file():
        found = open_files([path], label=label, like=like)
        if _is_adapters(path, found):
            found.close()
            raise FusionBenchError(f"{path} is an adapter's file", hint=f"give its folder, {path.parent}")
        return found
    if not path.is_dir():
        near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else []
        raise FusionBenchError(
            f"no checkpoint {path}",
            hint=f"near it: {', '.join(near)}" if near else "give a file or a folder on this machine",
        )
    if (path / ADAPTER).is_file():
        if base is None:
            raise FusionBenchError(f"{path} is an adapter", hint="give the model that it adapts as base")
        return open_adapter(path, base, label=label)
    files, listed = _weight_files(path)
    if files[0].name in ADAPTER_WEIGHTS:
        raise FusionBenchError(f"{path} is an adapter without {ADAPTER}", hint="add the one that peft saved with it")
    checkpoint = open_files(files, label=label, like=like)
    lost = sorted(listed - set(checkpoint.specs)) if listed else []
    if lost:
        checkpoint.close()
        raise FusionBenchError(f"the index of {path} lists {lost[0]!r}, which no shard has ({len(lost)} such tensors)")
    return checkpoint


def natural_order(name: str) -> list[object]:
    """A key that sorts 'layer 10' after 'layer 2'.

    Example:
        >>> sorted(["layer.10", "layer.2"], key=natural_order)
        ['layer.2', 'layer.10']
    """
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _is_adapters(path: Path, found: Checkpoint) -> bool:
    """Whether a file holds an adapter's tensors: by its name, or by theirs beside an adapter's config."""
    if path.name in ADAPTER_WEIGHTS:
        return True
    return (path.parent / ADAPTER).is_file() and any(".lora_" in name for name in found)


def _weight_files(folder: Path) -> tuple[list[Path], set[str]]:
    """The weight files of a Hugging Face folder, shards in natural order, and the tensors that an index lists."""
    for name in _INDEXES:
        index = folder / name
        if index.is_file():
            return _indexed(index)
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name], set()
    found = sorted(folder.glob("*.safetensors"), key=lambda path: natural_order(path.name))
    found = found or sorted(p for p in folder.iterdir() if p.suffix in PICKLES and not p.name.startswith(_OF_TRAINING))
    if len(found) == 1:
        return found, set()
    if not found:
        raise FusionBenchError(
            f"{folder} holds no weights", hint=f"expected one of {', '.join((*_INDEXES, *_SINGLE, ADAPTER))}"
        )
    raise FusionBenchError(
        f"{folder} has {len(found)} files of weights and no index: {', '.join(p.name for p in found[:4])}",
        hint=f"name one file, or add {_INDEXES[0]}",
    )


def _indexed(index: Path) -> tuple[list[Path], set[str]]:
    try:
        table: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(table.values()), key=natural_order)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FusionBenchError(
            f"{index} is no index of shards: {error}", hint="it maps tensors to files under 'weight_map'"
        ) from error
    files = [index.parent / name for name in names]
    for file in files:
        if file.parent != index.parent or not file.is_file():
            raise FusionBenchError(f"{index.name} names the shard {file.name}, which is not in {index.parent}")
    if not files:
        raise FusionBenchError(f"{index} names no shard")
    return files, set(table)
