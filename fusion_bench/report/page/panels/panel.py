"""What a panel is made of: text, tables and charts, as plain data that the template and the browser draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Cell = str | float | int | None


@dataclass(frozen=True)
class Series:
    """A line or a cloud of points.

    ``x`` numbers or names; ``y`` numbers; ``low`` and ``high`` bound them where there are intervals; ``marked`` is the
    position of a point that stands out (the value that was chosen), None where none does.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    dashed: bool = False
    marked: int | None = None


@dataclass(frozen=True)
class Chart:
    """A drawing; the browser gives each a table of the same numbers.

    ``kind``: "lines" of `Series`; or "matrix" of ``z``, rows × columns, coloured from ``low`` to ``high`` (the range of
    the numbers where None), with two colours that part at ``centre`` unless it is None. ``unit``: "%" shows fractions
    as per cent; ``digits`` are the decimal places shown; ``note`` says how to read it.
    """

    title: str
    kind: Literal["lines", "matrix"] = "lines"
    series: Sequence[Series] = ()
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    z: Sequence[Sequence[float | None]] = ()
    low: float | None = None
    high: float | None = None
    centre: float | None = None
    unit: str = ""
    digits: int = 1
    note: str = ""


@dataclass(frozen=True)
class Table:
    """``rows`` of one cell a column; numbers are set to the right, text to the left.

    ``written``: all cells but a row's first are numbers that are written out already; their headings may break.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    written: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of a board.

    ``key`` names it in addresses: letters and hyphens; ``text`` its paragraphs.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON holds it."""
        return asdict(self)
