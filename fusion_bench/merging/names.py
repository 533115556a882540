"""Names for experts that come without: they key random masks and fix the order of sums."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import Source

_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"}


def checkpoint_names(experts: Sequence[Source] | Mapping[str, Source]) -> dict[str, Source]:
    """The experts by name: as given, or the shortest ends of their paths that tell them apart.

    Names that come from paths do not depend on the order in which the experts are listed, so neither does the result.

    Raises:
        FusionBenchError: no experts, or the same path twice.

    Example:
        >>> list(checkpoint_names(["models/math/model.safetensors", "models/code/model.safetensors"]))
        ['math/model', 'code/model']
        >>> list(checkpoint_names(["experts/math", "experts/code"]))
        ['math', 'code']
    """
    if isinstance(experts, (str, os.PathLike)):
        raise FusionBenchError(f"experts is one path: {experts}", hint="give a list: experts=[a, b]")
    if not experts:
        raise FusionBenchError("no experts to merge", hint="give at least one")
    if isinstance(experts, Mapping):
        if not any(isinstance(source, (str, os.PathLike, Mapping)) for source in experts.values()):
            raise FusionBenchError(
                "experts maps names to something that is neither a path nor a state dict",
                hint="give a list of state dicts, or names to state dicts",
            )
        return {str(name): source for name, source in experts.items()}
    if not all(isinstance(source, (str, os.PathLike)) for source in experts):
        digits = len(str(len(experts) - 1))  # zero-padded, so that names sort as positions do
        return {f"{number:0{digits}}": source for number, source in enumerate(experts)}
    paths = [Path(str(source)).expanduser().absolute() for source in experts]
    twice = [str(path) for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise FusionBenchError(f"{twice[0]} is listed twice among the experts", hint="name them: experts={a: …, b: …}")
    # "llama-3.1-math" is a folder's name, and ".1-math" no suffix
    parts = [path.with_suffix("").parts if path.suffix in _SUFFIXES else path.parts for path in paths]
    length = 1
    while len({part[-length:] for part in parts}) < len(parts) and length < max(map(len, parts)):
        length += 1
    found = {"/".join(part[-length:]): source for part, source in zip(parts, experts, strict=True)}
    if len(found) < len(paths):  # m.bin beside m.safetensors
        return {str(path): source for path, source in zip(paths, experts, strict=True)}
    return found
