"""`docs/published.md`, made from the tables: what there is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusion_bench.report.published.checks import Finding, findings
from fusion_bench.report.published.table import Table

_INTRO = """\
# Published numbers

Written by `python -m fusion_bench.report.published` from the YAML files in `fusion_bench/assets/published/`.
Do not edit: write it anew with `> docs/published.md`; a test compares.

One file is one table: where it stands (repository, file, commit, day, paper; what is not known is null, with the
reason), backbone, checkpoints, metric, unit, the model pool and task pool of ours with the same models and data, and
the rows with every digit as printed, errors included. A row names the algorithm of ours that does the same, with the
options that the source states: FusionBench's TIES sums the entries that agree, so its rows are `ties_sum` and not
`ties`. Rows without an algorithm are methods that we do not have, or have in another form.

```python
from fusion_bench.report.published import beside, findings, tables

for row in beside(results, tables()):  # case results, as dictionaries
    print(row.name, row.text, row.inside)  # ties_sum[scaling=0.3] paper 72.2, here 72.0 ± 0.3 True
```

`inside` says whether a number that would be printed like the published one lies in the 95 % interval of ours. That
interval is about the sampling of test examples only: `differs` says in what else the two protocols differ.
"""

_LEGEND = """\
An average is wrong if no values that round to the printed ones have an average that rounds, or can be cut off, to the
stated one. A *conflict* is one model on the same test data with several values in one repository, further apart than
rounding or cutting off digits can explain; "is like" names another backbone whose value is much nearer. A *copy* is one
set of four or more values under two models.
"""


def document(tables: Iterable[Table]) -> str:
    """The page, in Markdown.

    Example:
        >>> print(document([]).splitlines()[0])
        # Published numbers
    """
    every = list(tables)
    found = findings(every)
    conflicts = sorted((f for f in found if f.kind == "conflict"), key=lambda f: -(f.size or 0))
    parts = [
        _INTRO,
        "## What is there\n",
        _inventory(every),
        "## What is wrong in it\n",
        _LEGEND,
        "### Averages that disagree with their values, copies, impossible values\n",
        _list(found, ("average", "copy", "range")),
        "### Conflicts\n",
        _conflicts(conflicts),
        "### Misspelt columns\n",
        _list(found, ("heading",)),
        "## Averages that are right only with digits cut off, or before the values were rounded\n",
        _list(found, ("rounding",)),
    ]
    return "\n".join(parts)


def _inventory(tables: Sequence[Table]) -> str:
    lines = [_line("table", "what", "backbone", "rows × tasks", "our pool", "source", "commit", "day")]
    lines += ["|:--|:--|:--|--:|:--|:--|:--|:--|"]
    for table in tables:
        source = table.source
        size = f"{len(table.rows)} × {len(table.columns)}"
        size += "" if any(row.values for row in table.rows) else " (averages)"
        pool = f"{table.modelpool}/{table.taskpool}" if table.modelpool and table.taskpool else ""
        place = f"{source.repository}, {source.document or 'file not known'}"
        place += f" (arXiv {source.paper})" if source.paper else ""
        commit = source.commit[:7] if source.commit else "not known"
        lines += [_line(table.name, table.title, table.backbone, size, pool, place, commit, source.date or "not known")]
    rows = sum(len(table.rows) for table in tables)
    ours = sum(row.algorithm is not None for table in tables for row in table.rows)
    return "\n".join([*lines, "", f"{len(tables)} tables, {rows} rows, {ours} of them methods of ours.", ""])


def _conflicts(found: Sequence[Finding]) -> str:
    lines = ["| points | one model, several values |", "|--:|:--|"]
    lines += [_line(f"{finding.size:.2f}", finding.message) for finding in found]
    return "\n".join([*lines, ""]) if found else "None.\n"


def _list(found: Sequence[Finding], kinds: Sequence[str]) -> str:
    lines = []
    for finding in found:
        if finding.kind in kinds:
            about = " and ".join(f"`{name}`" for name in finding.tables)
            about += f", {_plain(finding.row)}" if finding.row else ""
            lines.append(f"- {about}: {_plain(finding.message)}")
    return "\n".join([*(lines or ["None."]), ""])


def _line(*cells: str) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Text of others inside Markdown: a bar would end a cell, a dollar sign would begin a formula."""
    for theirs, plain in (("|", "\\|"), ("$", ""), ("\\lambda", "λ"), ("\\alpha", "α"), ("\\%", "%")):
        text = text.replace(theirs, plain)
    return text
