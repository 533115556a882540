"""Which way a measure is better, and what it is counted in: by the names under which tasks log them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LOWER = "lower"
_STANDARD_ERROR = "_stderr"  # what lm-evaluation-harness puts after a metric's name


@dataclass(frozen=True)
class Measure:
    """``better``: "higher" or "lower"; None where nobody said. ``unit``: empty of shares, ratios and correlations."""

    better: Literal["higher", "lower"] | None = None
    unit: str = ""


_HIGHER, _LOWER = Measure("higher"), Measure("lower")

MEASURES: Mapping[str, Measure] = {
    # maps of pictures (`metrics.dense`)
    "miou": _HIGHER,
    "pixel_accuracy": _HIGHER,
    "absolute_error": Measure("lower", "m"),
    "relative_error": _LOWER,
    "rmse": Measure("lower", "m"),
    "delta1": _HIGHER,
    "delta2": _HIGHER,
    "delta3": _HIGHER,
    "mean_angle": Measure("lower", "°"),
    "median_angle": Measure("lower", "°"),
    "within_11.25": _HIGHER,
    "within_22.5": _HIGHER,
    "within_30": _HIGHER,
    # texts (`metrics.scores`)
    "matthews": _HIGHER,
    "spearman": _HIGHER,
    "pearson": _HIGHER,
    "pearson_spearman": _HIGHER,
    "no_number": _LOWER,
    # lm-evaluation-harness, as its registry has them
    **dict.fromkeys(("acc", "acc_norm", "acc_mutual_info", "acc_bytes", "acc_all", "exact_match"), _HIGHER),
    **dict.fromkeys(("likelihood", "mcc", "f1", "bleu", "chrf"), _HIGHER),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"), _LOWER),
    **dict.fromkeys(("brier_score", "ter"), _LOWER),
}


def measure(name: str) -> Measure:
    """What is known of a measure; of one after a filter of the harness (``exact_match.strict-match``), of the measure.

    Example:
        >>> measure("rmse").unit, measure("within_22.5").better, measure("exact_match.strict-match").better
        ('m', 'higher', 'higher')
        >>> measure("of_a_plugin")
        Measure(better=None, unit='')
    """
    return MEASURES.get(name) or MEASURES.get(name.partition(".")[0]) or Measure()


def is_standard_error(name: str) -> bool:
    """Whether it is the harness' standard error of a measure.

    Example:
        >>> [is_standard_error(name) for name in ("acc_stderr", "exact_match_stderr.strict-match", "acc")]
        [True, True, False]
    """
    return name.partition(".")[0].endswith(_STANDARD_ERROR)


def described(name: str, factor: float = 1.0) -> str:
    """Unit and direction of a measure for a reader who expects higher to be better; empty where there is neither.

    Args:
        factor: what the number is multiplied by where it is printed: a hundredfold of metres are centimetres.

    Example:
        >>> described("absolute_error"), described("absolute_error", 100), described("mean_angle")
        ('m, lower is better', 'cm, lower is better', '°, lower is better')
        >>> described("relative_error"), described("miou")
        ('lower is better', '')
    """
    known = measure(name)
    return ", ".join(filter(None, [_unit(known.unit, factor), "lower is better" if known.better == LOWER else ""]))


def _unit(unit: str, factor: float) -> str:
    if not unit or factor == 1:
        return unit
    return "cm" if (unit, factor) == ("m", 100) else f"{1 / factor:g} {unit}"
