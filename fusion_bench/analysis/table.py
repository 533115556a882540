"""One form for all that an analysis finds: a table of numbers that says what it shows and how it wants to be drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fusion_bench.errors import FusionBenchError

View = Literal["matrix", "lines"]

_DIGITS = 6  # significant, in a document: more than any figure shows, and a third of the bytes


@dataclass(frozen=True)
class Table:
    """A table with labels.

    Attributes:
        title: what is shown, in a few words.
        measure: what the numbers are, with their unit.
        rows, columns: labels; of lines, the columns are numbers.
        values: a row of numbers for each label of ``rows``, all finite.
        row_axis, column_axis: what the labels are; empty where they speak for themselves.
        view: "matrix" is a heat map; "lines" has a line for each row over ``columns``.
        centre: the value that says "nothing": two colours part there. None where the values only grow.
        low, high: what the colours or the axis span; None leaves it to the values.
        digits: decimal places worth reading.
        note: how to read it, with the definition, in a sentence or two.

    Example:
        >>> table = Table("cosines", "cosine", ("a", "b"), ("a", "b"), ((1.0, 0.1), (0.1, 1.0)))
        >>> Table.from_dict(table.to_dict()) == table
        True
    """

    title: str
    measure: str
    rows: tuple[str, ...]
    columns: tuple[str, ...] | tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    row_axis: str = ""
    column_axis: str = ""
    view: View = "matrix"
    centre: float | None = None
    low: float | None = None
    high: float | None = None
    digits: int = 2
    note: str = ""

    def __post_init__(self) -> None:
        if self.view not in get_args(View):
            raise FusionBenchError(f"table {self.title!r} has no view {self.view!r}", hint=" or ".join(get_args(View)))
        widths = {len(row) for row in self.values}
        if len(self.values) != len(self.rows) or widths - {len(self.columns)}:
            raise FusionBenchError(
                f"table {self.title!r} has {len(self.rows)} × {len(self.columns)} labels for {len(self.values)} rows "
                f"of {sorted(widths)} values",
                hint="one row a label, one value a column",
            )
        wrong = sum(not math.isfinite(value) for row in self.values for value in row)
        if wrong:
            raise FusionBenchError(f"table {self.title!r}: {wrong} values are not finite")

    @classmethod
    def of(
        cls, title: str, measure: str, rows: Sequence[str], columns: Sequence[Any], values: Any, **more: Any
    ) -> Table:
        """A table from sequences or arrays.

        Example:
            >>> Table.of("norms", "norm", ["a"], [0.0, 1.0], [[1, 2]], view="lines").values
            ((1.0, 2.0),)
        """
        numbers = tuple(tuple(map(float, row)) for row in values)
        return cls(title, measure, tuple(rows), tuple(columns), numbers, **more)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; numbers keep six significant digits."""
        values = [[float(f"{value:.{_DIGITS}g}") for value in row] for row in self.values]
        return {**asdict(self), "values": values, "rows": list(self.rows), "columns": list(self.columns)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Table:
        """From JSON.

        Raises:
            FusionBenchError: a field that is missing or unknown, or values that do not fit.
        """
        try:
            found = dict(content)
            for name in ("rows", "columns"):
                found[name] = tuple(found[name])
            found["values"] = tuple(tuple(map(float, row)) for row in found["values"])
            return cls(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise FusionBenchError(f"not a table: {error}", hint="see fusion_bench.analysis.table.Table") from error
