"""One case in half a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mean_text(result: Mapping[str, Any]) -> str:
    """The mean accuracy of a result.

    Example:
        >>> mean_text({"metrics": {"accuracy/mean": 0.6123}})
        '61.2 %'
    """
    return f"{100 * result['metrics']['accuracy/mean']:4.1f} %"


def headline(result: Mapping[str, Any], *, short: bool = False) -> str:
    """Mean accuracy, its share of the experts', and the seconds it took.

    Example:
        >>> result = {"metrics": {"accuracy/mean": 0.6123, "normalized/mean": 0.8, "cost/fusion_seconds": 1.0,
        ...                       "cost/evaluation_seconds": 2.5}}
        >>> headline(result)
        '61.2 %   80.0 % of experts    3.5 s'
        >>> headline(result, short=True)
        '61.2 %    3.5 s'
        >>> headline({"metrics": {"accuracy/mean": 0.6123}, "resumed": True})
        '61.2 %   reused'
    """
    metrics = result["metrics"]
    text = mean_text(result)
    if "normalized/mean" in metrics and not short:
        text += f"  {100 * metrics['normalized/mean']:5.1f} % of experts"
    if result.get("resumed"):
        text += "   reused"
    elif "cost/fusion_seconds" in metrics:
        text += f"  {metrics['cost/fusion_seconds'] + metrics['cost/evaluation_seconds']:5.1f} s"
    return text
