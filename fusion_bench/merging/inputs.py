"""What a job reads and where it writes, looked at before it begins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.adapter_config import base_config
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.opening import Source
from fusion_bench.weights.suffixes import SAFETENSORS, is_weights


def as_target(out: Any) -> Path | None:
    """The folder or file to make.

    Raises:
        FusionBenchError: not a path, or a file of a kind that is not written.

    Example:
        >>> as_target("merged.safetensors").name, as_target(None)
        ('merged.safetensors', None)
    """
    if out is None:
        return None
    if not isinstance(out, (str, os.PathLike)):
        raise FusionBenchError(f"out is a {type(out).__name__}", hint="give a folder, or a file ending in .safetensors")
    target = Path(out).expanduser()
    if is_weights(target) and target.suffix != SAFETENSORS:
        raise FusionBenchError(
            f"out = {target}: no file of that kind is written", hint="give a folder, or a file ending in .safetensors"
        )
    return target


def check_source(role: str, source: Any) -> None:
    """Refuse what no model can be opened from.

    Raises:
        FusionBenchError: neither a path nor a mapping of names to tensors.
    """
    if not isinstance(source, (str, os.PathLike, Mapping)):
        module = " its state_dict()," if hasattr(source, "state_dict") else ""
        raise FusionBenchError(
            f"{role} is a {type(source).__name__}: {source!r:.60}", hint=f"give{module} a path or a state dict"
        )


def input_paths(sources: Iterable[Source], opened: Iterable[Checkpoint]) -> list[Path]:
    """The files that are read, and the folders that were given."""
    folders = [Path(source).expanduser() for source in sources if isinstance(source, (str, os.PathLike))]
    return [*(folder for folder in folders if folder.is_dir()), *(file for each in opened for file in each.files)]


def refuse_twice(experts: Mapping[str, Checkpoint]) -> None:
    """Refuse experts that are the same files, by whatever path, link or folder they were listed: one would count twice.

    Raises:
        FusionBenchError: two are.
    """
    seen: dict[frozenset[tuple[int, int]], Checkpoint] = {}
    for checkpoint in experts.values():
        found = [path.stat() for path in checkpoint.files]
        key = frozenset((status.st_dev, status.st_ino) for status in found)
        first = seen.setdefault(key, checkpoint)
        if key and first is not checkpoint:
            raise FusionBenchError(
                f"{first.label} and {checkpoint.label}, listed among the experts, are the same files",
                hint="list it once, or name them to count it twice: experts={a: …, b: …}",
            )


def refuse_quantised(opened: Iterable[Checkpoint]) -> None:
    """Refuse models whose numbers are codes, which scales beside them give a meaning: averages of codes have none.

    Raises:
        FusionBenchError: a ``config.json`` beside the weights says so, or weights have a type of 8 bits.
    """
    hint = "dequantise it first, in transformers with model.dequantize(), and save it"
    for checkpoint in opened:
        for name, spec in checkpoint.specs.items():
            if spec.dtype.is_floating_point and spec.dtype.itemsize == 1:
                raise FusionBenchError(f"{checkpoint.place(name)}: tensor {name!r} is {spec.dtype}", hint=hint)
        stated = base_config(checkpoint).get("quantization_config")
        if stated:
            method = stated.get("quant_method", "quantised") if isinstance(stated, dict) else "quantised"
            raise FusionBenchError(f"{checkpoint.label} is quantised ({method})", hint=hint)
