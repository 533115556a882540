"""Names for experts that come without: they key random masks and fix the order of sums."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging.inputs import check_source
from fusion_bench.weights.opening import Source
from fusion_bench.weights.suffixes import READ

BASE = "base"  # what the base is called where two models are named


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
    if not isinstance(experts, Iterable):
        raise FusionBenchError(f"experts is a {type(experts).__name__}", hint="give a list: experts=[a, b]")
    if not isinstance(experts, Mapping):
        experts = list(experts)
    if not experts:
        raise FusionBenchError("no experts to merge", hint="give at least one")
    for source in experts.values() if isinstance(experts, Mapping) else experts:
        check_source("an expert", source)
    if isinstance(experts, Mapping):
        found = {str(name): source for name, source in experts.items()}
        if len(found) < len(experts):
            raise FusionBenchError(f"two experts have one name: {', '.join(map(repr, experts))}")
        if BASE in found:
            raise FusionBenchError(f"an expert is called {BASE!r}, as the base is", hint="give it another name")
        return found
    if not all(isinstance(source, (str, os.PathLike)) for source in experts):
        digits = len(str(len(experts) - 1))  # zero-padded, so that names sort as positions do
        return {f"{number:0{digits}}": source for number, source in enumerate(experts)}
    paths = [Path(str(source)).expanduser().absolute() for source in experts]
    twice = [str(path) for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise FusionBenchError(f"{twice[0]} is listed twice among the experts", hint="name them: experts={a: …, b: …}")
    # "llama-3.1-math" is a folder's name, and ".1-math" no suffix
    parts = [path.with_suffix("").parts if path.suffix in READ else path.parts for path in paths]
    length = 1
    while length < max(map(len, parts)) and (
        len({part[-length:] for part in parts}) < len(parts) or (BASE,) in {part[-length:] for part in parts}
    ):
        length += 1
    found = {"/".join(part[-length:]): source for part, source in zip(parts, experts, strict=True)}
    if len(found) < len(paths):  # m.bin beside m.safetensors
        return {str(path): source for path, source in zip(paths, experts, strict=True)}
    return found
