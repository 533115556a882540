"""Objects from fields, with every complaint about a field as one error that names the nearest valid one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from fusion_bench.errors import FusionBenchError, nearest


def instantiate(cls: type, fields: Mapping[str, Any], *, where: str) -> Any:
    """``cls(**fields)`` with pydantic's complaints as one `FusionBenchError`."""
    from pydantic import ValidationError

    _check_decorated(cls)
    known = [name for name in inspect.signature(cls).parameters if name != "self"]
    for name in fields:
        if name not in known:
            near = nearest(name, known)
            meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise FusionBenchError(
                f"{where} has no option {name!r}", hint=f"{meant}It has: {', '.join(known) or 'no options'}"
            )
    try:
        return cls(**fields)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"]) or "?"
            message = problem["msg"].removeprefix("Value error, ")
            value = "" if problem["type"] == "missing" else f" (given: {problem.get('input')!r})"
            lines.append(f"{field}: {message}{value}")
        raise FusionBenchError(f"{where}: {'; '.join(lines)}", hint=f"its options are {', '.join(known)}") from error


def _check_decorated(cls: type) -> None:
    """Refuse an algorithm whose options nobody would check: it has fields, and pydantic has not seen them."""
    from pydantic.dataclasses import is_pydantic_dataclass

    fields = [name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)]
    if fields and any(is_pydantic_dataclass(base) for base in cls.__mro__[1:]) and not is_pydantic_dataclass(cls):
        raise FusionBenchError(
            f"{cls.__module__}.{cls.__qualname__} has the options {', '.join(fields)} and is no pydantic dataclass",
            hint="put @dataclass(frozen=True, kw_only=True) before it, from pydantic.dataclasses import dataclass",
        )
