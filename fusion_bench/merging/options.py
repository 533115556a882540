"""The options of a job, checked before anything is opened."""

from __future__ import annotations

import math
from typing import Any

import torch

from fusion_bench.errors import FusionBenchError, unknown_name

_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def as_bytes(value: int | float | str) -> int:
    """Bytes from a number or from "2GB", "512MB", "1.5GiB".

    Raises:
        FusionBenchError: neither.

    Example:
        >>> as_bytes("2GB"), as_bytes("64MiB"), as_bytes(1000)
        (2000000000, 67108864, 1000)
    """
    found = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str):
        text = value.strip().upper().removesuffix("B")
        binary, text = text.endswith("I"), text.removesuffix("I")
        power = max(0, " KMGT".find(text[-1:])) if text else 0
        try:
            found = float(text.rstrip("KMGT")) * (1024 if binary else 1000) ** power
        except ValueError:
            found = math.nan
    if not math.isfinite(found):
        raise FusionBenchError(f"memory = {value!r}", hint="give bytes, or 512MB, 2GB")
    return int(found)


def as_dtype(name: Any) -> torch.dtype | None:
    """The type that the result is stored in, by name or itself; None for the base's.

    Raises:
        FusionBenchError: not one of the four that weights are merged in.

    Example:
        >>> as_dtype("bfloat16"), as_dtype(None)
        (torch.bfloat16, None)
    """
    if name is None or name in _DTYPES.values():
        return name
    if not isinstance(name, str) or name not in _DTYPES:
        raise unknown_name("dtype", str(name), list(_DTYPES))
    return _DTYPES[name]


def as_device(name: Any) -> str | None:
    """A device that torch can put a number on; None where the tensors are.

    Raises:
        FusionBenchError: there is none of that name, or it cannot be used here.

    Example:
        >>> as_device("cpu")
        'cpu'
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(1, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FusionBenchError(
            f"device = {name!r} cannot be used: {reason}", hint="cpu, or cuda where there is one"
        ) from error
    return str(device)
