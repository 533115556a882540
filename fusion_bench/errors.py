"""The one exception that bad input raises, and the sentence that names what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FusionBenchError(Exception):
    """Something a user can mend: both doors print it without a traceback.

    Args:
        message: what is wrong and where (the tensor, the file, both shapes).
        hint: what to do about it.

    Example:
        >>> str(FusionBenchError("no space left", hint="free 2 GB"))
        'no space left\\n  hint: free 2 GB'
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint)  # both, so that the error survives pickling to another process
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(cls: type[FusionBenchError], message: str, hint: str | None) -> FusionBenchError:
    return cls(message, hint=hint)


def nearest(name: str, choices: Iterable[str], *, count: int = 3) -> list[str]:
    """The names most like ``name``: the closest spellings, then those that contain it or are contained in it.

    Example:
        >>> nearest("tis", ["ties", "slerp", "dare_ties"])
        ['ties', 'dare_ties']
    """
    choices = list(choices)
    found = difflib.get_close_matches(name, choices, n=count, cutoff=0.5)
    found += [c for c in choices if c not in found and (name in c or c in name)]
    return found[:count]


def unknown_name(kind: str, name: str, choices: Iterable[str], *, where: str | None = None) -> FusionBenchError:
    """The error for a name that is not among ``choices``, with the nearest ones.

    Example:
        >>> print(unknown_name("algorithm", "tiez", ["ties", "slerp"]))
        unknown algorithm 'tiez'
          hint: did you mean 'ties'? There are: slerp, ties
    """
    choices = sorted(choices)
    near = nearest(name, choices)
    meant = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    place = f" in {where}" if where else ""
    return FusionBenchError(f"unknown {kind} {name!r}{place}", hint=f"{meant}There are: {', '.join(choices) or 'none'}")
