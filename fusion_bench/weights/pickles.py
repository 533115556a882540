"""Pickles of tensors as checkpoints: what ``torch.save`` wrote, read without running any code of theirs."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import StateCheckpoint

_ZIP = b"PK\x03\x04"
_SHOWN = 8  # entries of a pickle that messages name


def open_pickles(paths: Sequence[Path], *, label: str) -> StateCheckpoint:
    """The state dict in one file, or in several shards together.

    A file maps names to tensors, or it has exactly one entry that does, beside an optimiser's state for instance: then
    that one is read, and a note of the checkpoint says so. Files in the format of torch before 1.6 are held in memory
    whole, others are mapped.

    Args:
        paths: the files.
        label: how messages call the model.

    Raises:
        FusionBenchError: a file that cannot be read, holds more than tensors and plain values, or no state dict, or
            several.
    """
    state: dict[str, Tensor] = {}
    notes: list[str] = []
    for path in paths:
        mapped = _is_zip(path)
        if not mapped:
            notes.append(f"{path} is in the format of torch before 1.6: it is held in memory whole")
        found, told = _state_dict(_loaded(path, mapped=mapped), path)
        state.update(found)
        notes += told
    return StateCheckpoint(state, label=label, files=tuple(paths), notes=tuple(notes))


def _is_zip(path: Path) -> bool:
    """Whether a file has the format of torch since 1.6, which can be mapped."""
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP)) == _ZIP
    except OSError as error:
        raise FusionBenchError(f"cannot read {path}: {error.strerror}") from error


def _loaded(path: Path, *, mapped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # of bytes that are no pickle, torch's reader raises nearly every error there is
        reason, hint = _explained(error, path)
        raise FusionBenchError(f"cannot read {path}: {reason}", hint=hint) from error


def _explained(error: Exception, path: Path) -> tuple[str, str]:
    """Why torch would not load a file, and what to do; what it advises itself is to run the file's code."""
    text = str(error)
    stranger = re.search(r"GLOBAL ([\w.]+) was not an allowed", text)
    if stranger or ("weights_only" in text and not isinstance(error, pickle.UnpicklingError)):
        reason = (
            f"it holds an object of {stranger[1]}" if stranger else "its format is not read without running its code"
        )
        return reason, (
            "only tensors are read (weights_only); if you trust who made it, save its state dict alone: "
            f"torch.save(STATE_DICT, 'new.pt') of what torch.load({path.name!r}, weights_only=False) gives"
        )
    if text and isinstance(error, (RuntimeError, OSError)):
        return text.splitlines()[0], "fetch or save it again, as safetensors at best"
    kind = type(error).__name__
    return f"it is damaged, or no file of torch.save ({kind})", "fetch or save it again, as safetensors at best"


def _state_dict(found: Any, path: Path) -> tuple[Mapping[str, Tensor], list[str]]:
    """The one state dict in what a file holds, and what to say about that."""
    if not isinstance(found, Mapping):
        raise FusionBenchError(
            f"{path} holds no state dict but a {type(found).__name__}", hint="it must map names to tensors"
        )
    if _is_state(found):
        return found, []
    inner = [key for key, value in found.items() if _is_state(value) and len(value)]
    others = [key for key in found if key not in inner]
    loose = [key for key in others if isinstance(found[key], Tensor) and _is_weight(found[key])]
    if len(inner) == 1 and not loose:
        left = f"; {_listed(others)} left out" if others else ""
        return found[inner[0]], [f"{path}: the state dict under {inner[0]!r} is read{left}"]
    if inner:
        several = f"{path} holds several state dicts: {_listed([*inner, *loose])}"
        line = f"torch.save(torch.load({path.name!r})[{inner[0]!r}], 'new.pt')"
        raise FusionBenchError(several, hint=f"save the one that is meant: {line}")
    kinds = [f"{key!r} ({type(value).__name__})" for key, value in list(found.items())[:_SHOWN]]
    raise FusionBenchError(f"{path} holds no state dict: {', '.join(kinds)}", hint="it must map names to tensors")


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(each, Tensor) for key, each in value.items()
    )


def _is_weight(tensor: Tensor) -> bool:
    """Whether a tensor beside a state dict may be a part of the model: no counter, no state of a random generator."""
    return tensor.is_floating_point() and tensor.ndim > 0


def _listed(keys: Sequence[object]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(map(repr, keys[:_SHOWN])) + more
