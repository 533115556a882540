"""Names that a package hands out and loads when they are first used: importing the package stays cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def late(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The package's ``__getattr__`` (PEP 562).

    Args:
        package: its ``__name__``.
        homes: the module, relative to the package, in which each name is.

    Example:
        >>> late("collections", {"Mapping": "abc"})("Mapping").__name__
        'Mapping'
    """

    def __getattr__(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
