"""How loops are compiled: without Python's lock, kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

part = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Of a loop: compiled into those that call it."""


def loop(function: Callable[..., Any]) -> Any:
    """Called from Python."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written: compiled once per process
        return njit(nogil=True)(function)
