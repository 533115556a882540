"""A result of ours beside the published row of the same method, options, models and tasks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fusion_bench import registry
from fusion_bench.families import row_name
from fusion_bench.hub.pool_sources import with_pins
from fusion_bench.metrics.measures import described
from fusion_bench.report.published.digits import Average, Printed, check_average
from fusion_bench.report.published.table import Row, Table

_POOLS = ("modelpool", "taskpool")


@dataclass(frozen=True)
class Beside:
    """One of our results with its published row. Numbers are in per cent.

    Attributes:
        name: of our row, as in a leaderboard.
        modelpool, taskpool: of our result.
        table: the published table; ``method`` its row.
        here: our mean accuracy; ``interval`` its 95 % interval, None where the result has none.
        average: the published average, recomputed.
        inside: whether a number that would be printed like the published one lies in our interval; None where we have
            no interval, or where the published average disagrees with its own values.
        differences: ours minus theirs by task (or ``metric/task``), as the table prints them.
        differs: in what the protocols differ; None if they do not, as far as the table says.
        text: ``paper 72.2, here 72.0 ± 0.3``.
    """

    name: str
    modelpool: str
    taskpool: str
    table: str
    method: str
    here: float
    interval: tuple[float, float] | None
    average: Average
    inside: bool | None
    differences: Mapping[str, float]
    differs: str | None
    text: str


def published_lines(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """What stands below a leaderboard: a line for each result that has a published row, nothing where none has.

    Example:
        >>> published_lines([{"case": {"algorithm": "ties", "modelpool": "p", "taskpool": "t"}, "tasks": ["a"],
        ...                   "metrics": {"accuracy/a": 0.5, "accuracy/mean": 0.5}}])
        []
    """
    from fusion_bench.report.published.reading import tables

    found = beside(results, tables())
    width = max((len(row.name) for row in found), default=0)
    verdicts = {True: "", False: ", outside our interval", None: ""}
    return [
        f"{row.name:<{width}}  {row.text}{verdicts[row.inside]}" + (f" ({row.differs})" if row.differs else "")
        for row in found
    ]


def beside(results: Iterable[Mapping[str, Any]], tables: Iterable[Table]) -> list[Beside]:
    """The published row of every result that has one, in the order of the results.

    A row corresponds if its table names the result's model pool and task pool, its columns are the result's tasks, and
    it states our algorithm with the options that the result was computed with: all options of that algorithm's YAML,
    those that the row states in their place, none that the row leaves open. So a run of ``ties`` (disjoint mean) has
    nothing beside it where the source summed. Results whose pool was changed from its YAML have nothing beside them.
    Base and experts that were measured along with a case count as results. Of several rows, one that states an average
    comes before one that does not, and more digits before fewer.

    Args:
        results: case results as dictionaries (`CaseResult.to_dict`).
        tables: published tables.

    Example:
        >>> from fusion_bench.report.published import tables
        >>> (table,) = [table for table in tables() if table.name == "clip_vit_b32_ta8"]
        >>> config = registry.read_config("algorithm", "ties_sum")
        >>> accuracy = {f"accuracy/{task}": 0.72 for task in table.columns.values()}
        >>> result = {"case": {"algorithm": "ties_sum", "modelpool": "clip_vit_b32_ta8", "taskpool": "ta8"},
        ...           "tasks": list(table.columns.values()), "metrics": {**accuracy, "accuracy/mean": 0.72},
        ...           "interval": [0.717, 0.723], "config": {"algorithm": config}}
        >>> [(row.method, row.text, row.inside) for row in beside([result], [table])]
        [('Ties-Merging ($\\\\lambda=0.3$)', 'paper 72.2, here 72.0 ± 0.3', True)]
        >>> beside([{**result, "config": {"algorithm": {**config, "combine": "mean"}}}], [table])
        []
    """
    every = [table for table in tables if table.modelpool and table.taskpool]
    shipped = {(group, name): _shipped(group, name) for t in every for group, name in _pools(t).items()}
    known = {row.algorithm: _shipped("algorithm", row.algorithm) for t in every for row in t.rows if row.algorithm}
    found = []
    for result in _with_references(list(results)):
        pools, config = {group: result["case"].get(group) for group in _POOLS}, result.get("config") or {}
        if any(_fields(config[g]) != shipped.get((g, pools[g])) for g in _POOLS if g in config):
            continue
        rows = [
            (table, row)
            for table in every
            if _pools(table) == pools and table.tasks == set(result["tasks"])
            for row in table.rows
            if row.algorithm and _corresponds(row, known[row.algorithm], config.get("algorithm"))
        ]
        if rows:
            found.append(_beside(result, *min(rows, key=_preference)))
    return [row for row in found if row.text]


def _with_references(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results, and what they measured of base and experts where that was no case of its own."""
    cases = {(r["case"]["modelpool"], r["case"]["taskpool"], row_name(r["case"])) for r in results}
    found = list(results)
    for result in results:
        pools = {group: result["case"][group] for group in _POOLS}
        for name, accuracy in result.get("references", {}).items():
            key = (pools["modelpool"], pools["taskpool"], name)
            if key in cases or not accuracy or name not in registry.names("algorithm"):
                continue
            cases.add(key)
            metrics = {f"accuracy/{task}": value for task, value in accuracy.items()}
            metrics |= result.get("reference_measures", {}).get(name, {})
            metrics["accuracy/mean"] = sum(accuracy.values()) / len(accuracy)
            config = {**(result.get("config") or {}), "algorithm": registry.read_config("algorithm", name)}
            case = {"algorithm": name, **pools}
            found.append({"case": case, "tasks": list(accuracy), "metrics": metrics, "config": config})
    return found


def _corresponds(row: Row, shipped: Mapping[str, Any], config: Mapping[str, Any] | None) -> bool:
    if not config or config.get("type") != shipped["type"]:
        return False
    wanted, given = {**shipped, **row.options}, _fields(config)
    keys = (wanted.keys() | given.keys()) - set(row.unstated)
    if wanted.keys() != given.keys():  # what one of the two does not say is the class's default
        parameters = inspect.signature(registry.resolve_class("algorithm", shipped["type"])).parameters
        defaults = {key: parameters[key].default for key in keys if key in parameters}
        wanted, given = {**defaults, **wanted}, {**defaults, **given}
    return all(key in wanted and key in given and wanted[key] == given[key] for key in keys)


def _preference(found: tuple[Table, Row]) -> tuple[bool, Decimal, str]:
    table, row = found
    average = _average(table, row)
    stated = average.stated
    return stated is None, Decimal(0) if stated is None else stated.unit, table.name


def _average(table: Table, row: Row) -> Average:
    """The average over all columns: the stated one, or that of the values where none is stated."""
    if table.by_measure:
        return check_average([], None)
    for name, columns in table.averages.items():
        if set(columns) == set(table.columns) and name in row.averages:
            return table.check(row, name)
    return check_average([row.values.get(column) for column in table.columns], None)


def _beside(result: Mapping[str, Any], table: Table, row: Row) -> Beside:
    average, metrics = _average(table, row), result["metrics"]
    ours = _ours(table, row, metrics)
    here, limits = 100 * metrics["accuracy/mean"], result.get("interval")
    interval = (100 * limits[0], 100 * limits[1]) if limits and all(map(math.isfinite, limits)) else None
    inside = None
    if interval and average.span:
        inside = interval[0] <= float(average.span[1]) and float(average.span[0]) <= interval[1]
    return Beside(
        name=row_name(result["case"]),
        modelpool=result["case"]["modelpool"],
        taskpool=result["case"]["taskpool"],
        table=table.name,
        method=row.method,
        here=here,
        interval=interval,
        average=average,
        inside=inside,
        differences={target: own - float(printed.value) for target, (own, printed) in ours.items()},
        differs=table.differs,
        text=_measures(ours, table) if table.by_measure else _text(average, here, interval),
    )


def _ours(table: Table, row: Row, metrics: Mapping[str, float]) -> dict[str, tuple[float, Printed]]:
    """Our number and theirs by column, as the table prints them, where both are there."""
    found = {}
    for column, target in table.columns.items():
        name, printed = target if "/" in target else f"accuracy/{target}", row.values.get(column)
        if printed is not None and name in metrics:
            found[target] = table.factors.get(column, 100) * metrics[name], printed
    return found


def _measures(ours: Mapping[str, tuple[float, Printed]], table: Table) -> str:
    """``miou/segmentation: paper 39.0, here 38.7; absolute_error/depth (cm, lower is better): …``; nothing where
    nothing can be compared.
    """
    factors = {target: table.factors.get(column, 100) for column, target in table.columns.items()}
    found = []
    for target, (own, printed) in ours.items():
        about = described(target.rpartition("/")[0], factors[target])
        places = printed.decimals
        numbers = f"paper {printed.value:.{places}f}, here {own:.{places}f}"
        found.append(target + (f" ({about})" if about else "") + f": {numbers}")
    return "; ".join(found)


def _text(average: Average, here: float, interval: tuple[float, float] | None) -> str:
    places = 1 if average.stated is None else min(2, max(1, average.stated.decimals))
    value = average.mean if average.stated is None else average.stated.value
    paper = "nothing" if value is None else f"{value:.{places}f}"
    if average.verdict == "disagrees":
        paper += f" (its tasks give {average.mean:.{places}f})"
    elif average.stated is None:
        paper += " (of its tasks)"
    margin = "" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.{places}f}"
    return f"paper {paper}, here {here:.{places}f}{margin}"


def _pools(table: Table) -> dict[str, str | None]:
    return {"modelpool": table.modelpool, "taskpool": table.taskpool}


def _shipped(group: str, name: str | None) -> dict[str, Any]:
    config = registry.read_config(group, name or "")
    return _fields(config if group == "algorithm" else with_pins(group, name or "", config))


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration builds, without what only describes it."""
    return {key: value for key, value in config.items() if key == "type" or key not in registry.DESCRIPTION}
