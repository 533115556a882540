"""Published tables to break: the shipped ones, and small ones written to a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusion_bench.report.published import Table, tables


@pytest.fixture(scope="session")
def shipped() -> dict[str, Table]:
    return {table.name: table for table in tables()}


def table_content(**changes: Any) -> dict[str, Any]:
    """A sound table of two tasks of five columns, as YAML holds it."""
    return {
        "title": "A table",
        "source": dict.fromkeys(("repository", "document", "place", "paper", "commit"), "x") | {"date": "2026-08-05"},
        "backbone": "B",
        "experts": "theirs",
        "merged": "five tasks",
        "condition": "clean",
        "metric": "accuracy",
        "unit": "percent",
        "columns": {letter.upper(): letter for letter in "abcde"},
        "averages": {"Avg": "all"},
        "rows": [
            {"method": "Base", "algorithm": "pretrained", "values": "10.0 20.0 30.0 40.0 50.0", "average": "30.0"},
            {
                "method": "Average",
                "algorithm": "simple_average",
                "values": "12.1 22.1 32.1 42.1 52.2",
                "average": "32.1",
            },
            {"method": "Other", "values": "13.0 23.0 33.0 43.0 53.0", "average": "33.0"},
        ],
        **changes,
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Table]]:
    """Write tables, given by name, and read the folder."""

    def write(**contents: Any) -> list[Table]:
        for name, content in contents.items():
            text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return tables(tmp_path)

    return write
