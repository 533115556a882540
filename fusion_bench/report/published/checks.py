"""What is wrong with published tables, as far as the tables themselves can tell."""

from __future__ import annotations

import difflib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from fusion_bench.report.published.digits import Printed, Span, check_average
from fusion_bench.report.published.table import Row, Table, task_of

Kind = Literal["average", "conflict", "copy", "range", "rounding", "heading"]

#: Kinds that say something is wrong; the others are worth knowing.
ERRORS = ("average", "conflict", "copy", "range")

_ENOUGH = 4  # equal cells that make a copy likely; other rows that say what a column's values are like


@dataclass(frozen=True)
class Finding:
    """Something found in the tables.

    Attributes:
        kind: ``average`` (stated and recomputed disagree), ``conflict`` (one model, two values), ``copy`` (two models,
            the same values), ``range`` (no such percentage); ``rounding`` (an average that is right only if digits
            were cut off) and ``heading`` (a misspelt column) are no errors in the numbers.
        tables: names of the tables it is about.
        row: the method; None where whole tables are meant.
        message: the finding in a sentence.
        size: how far apart the numbers are, in points; None where that is no question.
    """

    kind: Kind
    tables: tuple[str, ...]
    row: str | None
    message: str
    size: Decimal | None = None

    @property
    def is_error(self) -> bool:
        """Whether a number must be wrong."""
        return self.kind in ERRORS


def findings(tables: Iterable[Table]) -> list[Finding]:
    """Every finding, errors first, then by kind and table.

    Averages are recomputed (`check_average`). Cells that belong to one model, backbone, checkpoints and test data must
    have a printed value in common, within one repository; rows of two models must not be equal in all of four or more
    cells. Nothing is compared with results of ours.

    Example:
        >>> from fusion_bench.report.published import tables
        >>> for finding in findings(tables()):
        ...     if finding.kind == "average" and "flan_t5_base_glue_lora16" in finding.tables:
        ...         print(finding.message)
        states 78.2, its values give 79.4875: disagrees by 1.2875; RTE 80.5 for 90.5 would mend it
    """
    every = list(tables)
    found = [
        finding
        for table in every
        for row in table.rows
        for finding in (*_averages(table, row), *_out_of_range(table, row))
    ]
    found += [*_conflicts(every), *_copies(every), *_headings(every)]
    return sorted(found, key=lambda f: (not f.is_error, f.kind, f.tables, f.row or ""))


def _averages(table: Table, row: Row) -> Iterator[Finding]:
    for name in table.averages:
        average = table.check(row, name)
        which = f"{name}: " if len(table.averages) > 1 else ""
        if average.verdict == "disagrees":
            mended = _one_digit(table, row, name)
            hint = f"; {' or '.join(mended)} would mend it" if mended else ""
            yield Finding("average", (table.name,), row.method, which + average.text + hint, average.difference)
        elif average.verdict in ("truncates", "fits"):
            yield Finding("rounding", (table.name,), row.method, which + average.text)


def _one_digit(table: Table, row: Row, average: str) -> list[str]:
    """Cells of which another digit gives the stated average, and a value more like the rest of its column."""
    found, columns = [], table.averages[average]
    for column in columns:
        others = [v.value for r in table.rows if r is not row and (v := r.values.get(column)) is not None]
        cell = row.values[column]
        if cell is None or len(others) < _ENOUGH:
            continue
        usual = statistics.median(others)
        for place, digit in enumerate(cell.text):
            for other in "0123456789" if digit.isdigit() else "":
                text = cell.text[:place] + other + cell.text[place + 1 :]
                guess = Printed.read(text, scale=100 if table.unit == "fraction" else 1)
                values = [guess if c == column else row.values[c] for c in columns]
                if (
                    check_average(values, row.averages[average]).verdict in ("rounds", "truncates")
                    and abs(guess.value - usual) < abs(cell.value - usual)
                ):  # fmt: skip
                    found.append(f"{column} {text} for {cell.text}")
    return found


def _out_of_range(table: Table, row: Row) -> Iterator[Finding]:
    top = Decimal("inf") if table.unit == "mixed" else Decimal(100)
    for name, cell in (*row.values.items(), *row.averages.items()):
        if cell is not None and not 0 <= cell.value <= top:
            yield Finding(
                "range", (table.name,), row.method, f"{name} {cell.text} is no {table.metric} in {table.unit}"
            )


@dataclass(frozen=True)
class _Cell:
    model: str  # what was evaluated, apart from its backbone
    quantity: str
    printed: Printed
    span: Span  # what the number can have been
    table: Table
    row: Row


def _model(table: Table, row: Row) -> str:
    """What a row evaluates, apart from the backbone: equal text, equal model.

    A step of length 0 from the base is the base, whatever the method; an expert is itself whatever is merged.
    """
    if row.algorithm == "pretrained" or (row.algorithm and row.options.get("scaling") == 0):
        return f"pretrained; {table.condition}"
    if row.algorithm == "experts":
        return f"experts; {table.experts}; {table.condition}"
    options = [f"{key}={value}" for key, value in sorted(row.options.items())]
    options += [f"{key}=?" for key in sorted(row.unstated)]
    name = f"{row.algorithm}[{','.join(options)}]" if row.algorithm else row.method.casefold()
    return f"{name}; {table.experts}, {table.merged}; {table.condition}"


def _cells(tables: Sequence[Table]) -> Iterator[_Cell]:
    for table in tables:
        for row in table.rows:
            model = _model(table, row)
            for column, printed in row.values.items():
                if printed is not None:
                    task = table.columns[column]
                    own = f"experts; {table.experts}; {table.condition}"
                    yield _Cell(
                        own if row.expert == task_of(task) else model, task, printed, printed.printed, table, row
                    )
            for name, printed in row.averages.items():
                over = sorted(table.columns[column] for column in table.averages[name])
                low, high = printed.printed
                parts = [cell.unit for column in table.averages[name] if (cell := row.values.get(column))]
                slack = sum(parts, Decimal(0)) / (2 * len(over))  # rounded values may have been averaged
                span = (low - slack, high + slack)
                yield _Cell(model, f"average over {', '.join(over)}", printed, span, table, row)


def _conflicts(tables: Sequence[Table]) -> Iterator[Finding]:
    groups: dict[tuple[str | None, str, str], dict[str, list[_Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in _cells(tables):
        groups[cell.table.source.repository, cell.model, cell.quantity][cell.table.backbone].append(cell)
    for (_, model, quantity), backbones in groups.items():
        for backbone, cells in backbones.items():
            if max(cell.span[0] for cell in cells) <= min(cell.span[1] for cell in cells):
                continue
            others = [cell for name, found in backbones.items() if name != backbone for cell in found]
            where: dict[str, list[str]] = {}
            for cell in cells:
                where.setdefault(cell.printed.text, []).append(cell.table.name)
            texts = ", ".join(f"{text} ({', '.join(names)})" for text, names in where.items())
            about = f"{backbone}, {model.partition(';')[0]}, {quantity.partition(' over ')[0]}"
            names = tuple(sorted({cell.table.name for cell in cells}))
            values = [cell.printed.value for cell in cells]
            message = f"{about}: {texts}{_stranger(cells, others)}"
            yield Finding("conflict", names, cells[0].row.method, message, max(values) - min(values))


def _stranger(cells: Sequence[_Cell], others: Sequence[_Cell]) -> str:
    """A value that is much more like the one of another backbone than like the rest of its own."""
    nearest: list[tuple[Decimal, _Cell, _Cell]] = []
    for cell in cells:
        own = min(_apart(cell, other) for other in cells if other.printed.text != cell.printed.text)
        nearest += [(apart, cell, other) for other in others if 4 * (apart := _apart(cell, other)) < own]
    if not nearest:
        return ""
    _, cell, other = min(nearest, key=lambda found: found[0])
    return f"; {cell.printed.text} is like the {other.printed.text} of {other.table.backbone}"


def _apart(cell: _Cell, other: _Cell) -> Decimal:
    return abs(cell.printed.value - other.printed.value)


def _copies(tables: Sequence[Table]) -> Iterator[Finding]:
    equal: dict[tuple[tuple[str, Decimal, Decimal], ...], list[tuple[Table, Row]]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            cells = [(table.columns[name], cell.value, cell.unit) for name, cell in row.values.items() if cell]
            if len(cells) >= _ENOUGH:
                equal[tuple(sorted(cells))].append((table, row))
    pairs: dict[tuple[str, str], list[tuple[Row, Row, str]]] = defaultdict(list)
    sizes = {table.name: sum(bool(row.values) for row in table.rows) for table in tables}
    for rows in equal.values():
        for i, (table, row) in enumerate(rows):
            for other, twin in rows[i + 1 :]:
                if (table.backbone, _model(table, row)) != (other.backbone, _model(other, twin)):
                    about = (
                        f"{table.backbone} and {other.backbone}" if table.backbone != other.backbone else table.backbone
                    )
                    pairs[table.name, other.name].append((row, twin, about))
    for (first, second), twins in pairs.items():
        if first != second and len(twins) == sizes[first] == sizes[second]:
            yield Finding("copy", (first, second), None, f"every value is the same for {twins[0][2]}: a copied file")
            continue
        for row, twin, about in twins:
            message = f"equals {twin.method!r} in all {len(row.values)} values ({about}): a copied row"
            yield Finding("copy", tuple(dict.fromkeys((first, second))), row.method, message)


def _headings(tables: Sequence[Table]) -> Iterator[Finding]:
    spelt: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for table in tables:
        for heading, task in table.columns.items():
            spelt[task]["".join(filter(str.isalnum, heading)).casefold()].add(table.name)
    for table in tables:
        for heading, task in table.columns.items():
            plain = "".join(filter(str.isalnum, heading)).casefold()
            usual = [other for other, names in spelt[task].items() if len(names) > 1 and other != plain]
            near = difflib.get_close_matches(plain, usual, n=1, cutoff=0.75)
            if len(spelt[task][plain]) == 1 and near:
                yield Finding("heading", (table.name,), None, f"the column of {task} is headed {heading}")
