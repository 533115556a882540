"""Published tables as YAML: one file a table, every printed digit kept, every gap in its origin explained."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError, nearest, unknown_name
from fusion_bench.report.published.digits import Printed
from fusion_bench.report.published.table import Row, Source, Table, task_of

#: What a table's numbers count in, and the factor to per cent; ``mixed`` columns have units of their own.
UNITS = {"percent": 1, "fraction": 100, "mixed": 1}

_SOURCE = ("repository", "document", "place", "paper", "commit", "date")
_TABLE = ("title", "source", "backbone", "experts", "merged", "condition", "metric", "unit", "columns", "rows")
_MAYBE = ("modelpool", "taskpool", "differs", "note", "averages", "factors")
_ROW = ("method", "algorithm", "options", "unstated", "expert", "values", "average", "note")
Algorithms: TypeAlias = Mapping[str, set[str]]  # the keys of every algorithm's YAML
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def tables(folder: str | Path = "package://published") -> list[Table]:
    """Every table of a folder, by name.

    Args:
        folder: YAML files; the default are those that come with the package.

    Raises:
        FusionBenchError: no such folder, or a file that is no table: it names the file, the row and what is wrong.

    Example:
        >>> table = next(table for table in tables() if table.name == "clip_vit_b32_ta8")
        >>> row = next(row for row in table.rows if row.algorithm == "ties_sum")
        >>> row.method, row.values["EuroSAT"].text, table.check(row, "Average").text
        ('Ties-Merging ($\\\\lambda=0.3$)', '76.8', '72.175 rounds to 72.2')
    """
    from fusion_bench.datasets.manifest import locate

    root = locate(folder)
    if not root.is_dir():
        raise FusionBenchError(f"no folder of published tables at {root}", hint="it should hold one YAML file a table")
    known = {name: set(registry.read_config("algorithm", name)) for name in registry.names("algorithm")}
    return [_table(path, known) for path in sorted(root.glob("*.yaml"))]


def _table(path: Path, algorithms: Algorithms) -> Table:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FusionBenchError(f"cannot read the published table {path}: {' '.join(str(error).split())}") from error
    where = f"published table {path.stem!r}"
    fields = _mapping(content, where, _TABLE, _MAYBE)
    for key in set(_TABLE) - {"source", "columns", "rows"}:
        _text(fields[key], f"{where}, {key}")
    if fields["unit"] not in UNITS:
        raise unknown_name("unit", fields["unit"], UNITS, where=where)
    columns = fields["columns"]
    if not isinstance(columns, dict) or not columns or {type(c) for kv in columns.items() for c in kv} != {str}:
        raise FusionBenchError(f"{where} has no columns", hint="columns: {SUN397: sun397, …}, heading to task")
    averages = {
        name: _columns(value, columns, f"{where}, average {name!r}")
        for name, value in _optional(fields, "averages", where).items()
    }
    factors = _optional(fields, "factors", where)
    for column, factor in factors.items():
        if column not in columns:
            raise unknown_name("column", str(column), columns, where=f"{where}, factors")
        if type(factor) not in (int, float) or not factor > 0:
            raise FusionBenchError(
                f"{where}, factor {factor!r} of {column!r} is no number above 0", hint="leave it out for per cent"
            )
    _check_pools(fields, columns, where)
    if not isinstance(fields["rows"], list) or not fields["rows"]:
        raise FusionBenchError(f"{where} has no rows", hint="rows: a list of {method: …, values: …}")
    rows = tuple(
        _row(row, where, f"{where}, row {number}", fields["unit"], columns, averages, algorithms)
        for number, row in enumerate(fields["rows"], 1)
    )
    _no_twins([row.method for row in rows], where)
    rest: dict[str, Any] = {key: fields.get(key) for key in (*_TABLE, *_MAYBE)}
    rest |= {"factors": factors, "source": _source(fields["source"], where), "averages": averages, "rows": rows}
    return Table(name=path.stem, **rest)


def _row(
    content: Any,
    table: str,
    where: str,
    unit: str,
    columns: Mapping[str, str],
    averages: Mapping[str, Any],
    algorithms: Algorithms,
) -> Row:
    fields = _mapping(content, where, ("method",), _ROW)
    where = f"{table}, row {_text(fields['method'], f'{where}, method')!r}"
    texts = _text(fields["values"], f"{where}, values").split() if "values" in fields else []
    if texts and len(texts) != len(columns):
        raise FusionBenchError(
            f"{where} has {len(texts)} values for {len(columns)} columns",
            hint=f"one each, '-' for an empty cell: {', '.join(columns)}",
        )
    values = {
        column: None if text == "-" else _printed(text, unit, f"{where}, column {column!r}")
        for column, text in zip(columns, texts, strict=False)
    }
    stated = fields.get("average", {})
    if not isinstance(stated, dict):
        if len(averages) != 1:
            raise FusionBenchError(f"{where} states one average of {len(averages)}", hint="average: {name: value}")
        stated = dict.fromkeys(averages, stated)
    for name in stated:
        if name not in averages:
            raise unknown_name("average", name, averages, where=where)
    if not values and not stated:
        raise FusionBenchError(f"{where} has neither values nor an average", hint="leave the row out")
    expert = fields.get("expert")
    tasks = [task_of(target) for target in columns.values()]
    if expert is not None and expert not in tasks:
        raise unknown_name("task", str(expert), tasks, where=where)
    algorithm, options, unstated = _algorithm(fields, where, algorithms)
    found = {name: _printed(text, unit, f"{where}, {name!r}") for name, text in stated.items()}
    return Row(fields["method"], algorithm, options, unstated, expert, values, found, fields.get("note"))


def _algorithm(
    fields: Mapping[str, Any], where: str, algorithms: Algorithms
) -> tuple[str | None, dict[str, Any], tuple[str, ...]]:
    name, options, unstated = fields.get("algorithm"), _optional(fields, "options", where), fields.get("unstated") or []
    if not isinstance(unstated, list):
        raise FusionBenchError(f"{where}, unstated is {unstated!r}, no list", hint="unstated: [scaling]")
    if name is None:
        if options or unstated:
            raise FusionBenchError(f"{where} has options and no algorithm", hint="name one of ours, or leave them out")
        return None, {}, ()
    if name not in algorithms:
        raise unknown_name("algorithm", str(name), algorithms, where=where)
    known = algorithms[name] - registry.DESCRIPTION
    for option in (*options, *unstated):
        if option not in known:
            raise unknown_name(f"option of {name}", str(option), known, where=where)
    return name, options, tuple(unstated)


def _source(content: Any, where: str) -> Source:
    fields = _mapping(content, f"{where}, source", _SOURCE, ("unknown",))
    unknown = _optional(fields, "unknown", f"{where}, source")
    for key in _SOURCE:
        if fields[key] is None and not unknown.get(key):
            raise FusionBenchError(
                f"{where}: the source's {key} is null and nothing says why", hint=f"unknown: {{{key}: the reason}}"
            )
        if fields[key] is not None:
            _text(fields[key], f"{where}, source, {key}")
    try:
        datetime.date.fromisoformat(fields["date"] or "2000-01-01")
    except ValueError:
        raise FusionBenchError(f"{where}: {fields['date']!r} is no day", hint='date: "YYYY-MM-DD"') from None
    return Source(**{key: fields[key] for key in _SOURCE}, unknown=unknown)


def _check_pools(fields: Mapping[str, Any], columns: Mapping[str, str], where: str) -> None:
    for group in ("modelpool", "taskpool"):
        name = fields.get(group)
        if name is not None and name not in registry.names(group):
            raise unknown_name(group, str(name), registry.names(group), where=where)
    if fields.get("taskpool"):
        ours = set(registry.read_config("taskpool", fields["taskpool"])["tasks"])
        for task in map(task_of, columns.values()):
            if task not in ours:
                raise unknown_name(f"task of {fields['taskpool']}", task, ours, where=where)


def _columns(value: Any, columns: Mapping[str, str], where: str) -> tuple[str, ...]:
    chosen = list(columns) if value == "all" else value
    if not isinstance(chosen, list) or not chosen:
        raise FusionBenchError(f"{where} is over {value!r}", hint="write all, or a list of columns")
    for column in chosen:
        if column not in columns:
            raise unknown_name("column", str(column), columns, where=where)
    return tuple(chosen)


def _mapping(content: Any, where: str, needed: Iterable[str], others: Iterable[str]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise FusionBenchError(f"{where} is {type(content).__name__}, no mapping", hint=f"it has: {', '.join(needed)}")
    for key in content:
        if key not in (*needed, *others):
            near = nearest(str(key), (*needed, *others))
            raise FusionBenchError(f"{where} has no field {key!r}", hint=f"nearest: {', '.join(near) or 'none'}")
    missing = [key for key in needed if key not in content]
    if missing:
        raise FusionBenchError(f"{where} lacks {', '.join(missing)}", hint="null where it is not known")
    return content


def _optional(fields: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = fields.get(key) or {}
    if not isinstance(found, dict):
        raise FusionBenchError(f"{where}, {key} is {found!r}, no mapping", hint=f"{key}: {{name: …}}")
    return dict(found)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FusionBenchError(f"{where} is {value!r}, no text", hint="numbers stand in quotes: digits are kept so")
    return value


def _printed(text: Any, unit: str, where: str) -> Printed:
    try:
        return Printed.read(_text(text, where), scale=UNITS[unit])
    except ValueError as error:
        raise FusionBenchError(f"{where}: {error}", hint="digits as printed; '-' for an empty cell") from None


def _no_twins(methods: list[str], where: str) -> None:
    for method in methods:
        if methods.count(method) > 1:
            raise FusionBenchError(f"{where} has the row {method!r} twice", hint="one row a method")
