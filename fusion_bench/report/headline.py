"""One case in half a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline(result: Mapping[str, Any]) -> str:
    """Mean accuracy, its share of the experts', and the seconds it took.

    Example:
        >>> headline({"metrics": {"accuracy/mean": 0.6123, "normalized/mean": 0.8, "cost/fusion_seconds": 1.0,
        ...                       "cost/evaluation_seconds": 2.5}})
        '61.2 %   80.0 % of experts    3.5 s'
        >>> headline({"metrics": {"accuracy/mean": 0.6123}, "resumed": True})
        '61.2 %   reused'
    """
    metrics = result["metrics"]
    parts = [f"{100 * metrics['accuracy/mean']:4.1f} %"]
    if "normalized/mean" in metrics:
        parts.append(f"{100 * metrics['normalized/mean']:5.1f} % of experts")
    if result.get("resumed"):
        parts.append("reused")
    elif "cost/fusion_seconds" in metrics:
        parts.append(f"{metrics['cost/fusion_seconds'] + metrics['cost/evaluation_seconds']:5.1f} s")
    return "  ".join(part if i == 0 else (part if part[0] == " " else f" {part}") for i, part in enumerate(parts))
