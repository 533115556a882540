"""How a result travels with pytest's reports: as JSON in ``user_properties``, which cross from xdist's workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

_PROPERTY = "fusion_bench"


def attach(item: pytest.Item, result: dict[str, Any]) -> None:
    """Put a result on the item, from where pytest copies it into the reports (and into junit's ``<property>``)."""
    item.user_properties.append((_PROPERTY, json.dumps(result)))


def result_of(report: Any) -> dict[str, Any] | None:
    """The result that a report carries; None where there is none."""
    for name, value in getattr(report, "user_properties", ()):
        if name == _PROPERTY and isinstance(value, str):
            loaded: dict[str, Any] = json.loads(value)
            return loaded
    return None
