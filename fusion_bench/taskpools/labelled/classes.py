"""Whether class names stand in the order of a data set's labels."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_bench.errors import FusionBenchError


def check_order(own: Sequence[str], found: Sequence[str], *, task: str, data: str) -> None:
    """Refuse class names that a data set has at other labels, or has more or fewer of.

    Names are compared without case, spaces and signs. Those of the data set that are no words of ours (numbers,
    abbreviations, synonyms) say nothing: only a name that stands at *another* label is wrong.

    Args:
        own: the names prompts are made of, in label order.
        found: the data set's own.
        task, data: how messages call the two.

    Raises:
        FusionBenchError: another number of classes, or a name at another label.

    Example:
        >>> check_order(["annual crop", "forest"], ["AnnualCrop", "Forest"], task="eurosat", data="tanganke/eurosat")
        >>> check_order(["cat", "dog"], ["dog", "cat"], task="pets", data="you/pets")
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: class 0 of 'pets' is 'cat', which you/pets has at label 1 ('dog' at 0)
          hint: the order of the data set's classes changed: pin the revision that these names were written for
    """
    if len(own) != len(found):
        raise FusionBenchError(
            f"{task!r} names {len(own)} classes, {data} has {len(found)}",
            hint="pin the revision that these names were written for, or correct classes in the task pool's YAML",
        )
    theirs = {_plain(name): label for label, name in reversed(list(enumerate(found)))}
    for label, name in enumerate(own):
        at = theirs.get(_plain(name))
        if at is not None and at != label and _plain(found[label]) != _plain(name):
            raise FusionBenchError(
                f"class {label} of {task!r} is {name!r}, which {data} has at label {at} ({found[label]!r} at {label})",
                hint="the order of the data set's classes changed: pin the revision that these names were written for",
            )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
