"""Numbers as somebody printed them, what they can have been before, and whether an average fits its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

Span = tuple[Decimal, Decimal]
Verdict = Literal["rounds", "truncates", "fits", "disagrees", "unstated", "unchecked"]

# Unrounded records are float32, printed with the digits of a double: what stands beyond this is no digit.
_FINEST = Decimal("1e-7")


@dataclass(frozen=True)
class Printed:
    """A number as printed, on the scale of per cent.

    Attributes:
        text: the printed characters.
        value: the number, times ``scale``.
        unit: what one in its last digit is worth, times ``scale``.
    """

    text: str
    value: Decimal
    unit: Decimal

    @classmethod
    def read(cls, text: str, *, scale: int = 1) -> Printed:
        """Read decimal digits, nothing else.

        Raises:
            ValueError: no plain decimal number.

        Example:
            >>> Printed.read("0.6625", scale=100)
            Printed(text='0.6625', value=Decimal('66.2500'), unit=Decimal('0.01'))
        """
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text!r} is no number") from None
        if not value.is_finite() or "e" in text.lower() or "_" in text:
            raise ValueError(f"{text!r} is no plain decimal number")
        digits = len(text.partition(".")[2])
        return cls(text, value * scale, (max(Decimal(10) ** -digits, _FINEST) * scale).normalize())

    @property
    def decimals(self) -> int:
        """Digits after the point on the scale of per cent."""
        return max(0, -int(self.unit.as_tuple().exponent))

    @property
    def rounded(self) -> Span:
        """What it can have been if it was rounded to the nearest."""
        return self.value - self.unit / 2, self.value + self.unit / 2

    @property
    def printed(self) -> Span:
        """What it can have been if it was rounded or cut off: nobody says which."""
        return self.value - self.unit / 2, self.value + self.unit


@dataclass(frozen=True)
class Average:
    """A stated average against the mean of what it averages.

    ``verdict``: the mean of the printed values ``rounds`` or ``truncates`` to the stated one; or it does neither but
    the values before they were rounded can have done (``fits``); or no such values are possible (``disagrees``);
    nothing is stated (``unstated``), or a value is missing (``unchecked``).

    Attributes:
        mean: of the printed values, exact; None where one is missing.
        span: what the true average can have been, by the values and by what is stated; None where they disagree.
    """

    verdict: Verdict
    stated: Printed | None
    mean: Decimal | None
    span: Span | None

    @property
    def difference(self) -> Decimal | None:
        """Mean of the values minus what is stated, in points."""
        return None if self.mean is None or self.stated is None else self.mean - self.stated.value

    @property
    def text(self) -> str:
        """The verdict with its numbers, in per cent."""
        if self.stated is None:
            return "states no average"
        stated, places = f"{self.stated.value:.{self.stated.decimals}f}", self.stated.decimals + 3
        if self.mean is None or self.difference is None:
            return f"states {stated}, not checked"
        mean = _short(self.mean, places)
        if self.verdict == "disagrees":
            return f"states {stated}, its values give {mean}: disagrees by {_short(abs(self.difference), places)}"
        if self.verdict == "fits":
            return f"{mean} misses {stated}, which the values can have given before they were rounded"
        return f"{mean} {self.verdict} to {stated}"


def check_average(values: Sequence[Printed | None], stated: Printed | None) -> Average:
    """Compare a stated average with the unweighted mean of the printed values.

    With T values v_t of half a unit h_t each, the mean m is known to ± Σ h_t / T: a stated average a of unit u can be
    the rounding or the truncation of a mean in [a − u/2, a + u]. The two must meet.

    Args:
        values: what is averaged; None where a cell is empty, which leaves nothing to check.
        stated: the average as printed, None where there is none.

    Example:
        >>> check_average([Printed.read(x) for x in ("90.3", "90.5")], Printed.read("90.4")).verdict
        'rounds'
        >>> check_average([Printed.read(x) for x in ("90.35", "90.40")], Printed.read("90.3")).text
        '90.375 truncates to 90.3'
        >>> check_average([Printed.read(x) for x in ("80.0", "81.0")], Printed.read("80.9")).text
        'states 80.9, its values give 80.5: disagrees by 0.4'
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Average("unstated" if stated is None else "unchecked", stated, None, stated.printed if stated else None)
    mean = sum((value.value for value in known), Decimal(0)) / len(known)
    slack = sum((value.unit for value in known), Decimal(0)) / (2 * len(known))
    low, high = mean - slack, mean + slack
    if stated is None:
        return Average("unstated", None, mean, (low, high))
    span = max(low, stated.printed[0]), min(high, stated.printed[1])
    if span[0] > span[1] or low >= stated.value + stated.unit:  # cut off, the last would print the next digit
        return Average("disagrees", stated, mean, None)
    verdict: Verdict = "fits"
    if stated.rounded[0] <= mean <= stated.rounded[1]:
        verdict = "rounds"
    elif stated.value <= mean < stated.value + stated.unit:
        verdict = "truncates"
    return Average(verdict, stated, mean, span)


def _short(value: Decimal, places: int) -> str:
    return f"{value:.{places}f}".rstrip("0").rstrip(".")
