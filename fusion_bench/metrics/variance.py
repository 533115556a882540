"""How far a mean over examples may lie off: independent examples, or clusters of examples that are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.metrics.outcomes import Grouping, check_level, groupings, task_arrays


@dataclass(frozen=True)
class Spread:
    """The mean of one task's outcomes and the variance of that mean.

    ``independent`` is s²/n as if the examples were independent; ``variance`` what counts (never below it);
    ``df`` the degrees of freedom of ``variance`` (infinite for independent examples: a normal law is meant).
    """

    n: int
    mean: float
    independent: float
    variance: float
    df: float

    @property
    def design_effect(self) -> float:
        """``variance`` over ``independent``, at least 1; 1 where all outcomes are equal and nothing can be seen."""
        return self.variance / self.independent if self.independent > 0 else 1.0


def spread(values: np.ndarray, grouping: Grouping | None = None) -> Spread:
    """Mean and variance of the mean, from float64 ``(n,)``."""
    n, mean = len(values), float(values.mean())
    centred = values - mean
    squares = float(centred @ centred)
    independent = squares / (n - 1) / n
    if grouping is None:
        return Spread(n, mean, independent, independent, math.inf)
    layout = Layout.of(grouping.sizes)
    sums = grouping.sums(centred)
    variance, df = clustered(squares, float(layout.correction @ sums**2), float((sums**2) @ (1 / layout.sizes)), layout)
    return Spread(n, mean, independent, float(variance), float(df))


def design_effect(values: ArrayLike, clusters: ArrayLike) -> float:
    """By how much clusters swell the variance of a mean: 1 means independent examples, 4 intervals twice as wide.

    At least 1: examples of one source cannot be worth more than independent ones, and a smaller estimate is chance.

    Args:
        values: ``(n,)`` outcomes, n ≥ 2.
        clusters: ``(n,)`` labels of two or more clusters.

    Example:
        >>> round(design_effect([1, 1, 1, 0, 0, 0], ["a", "a", "a", "b", "b", "b"]), 2)
        5.0
    """
    arrays = task_arrays({"values": values}, binary=False)
    return spread(
        arrays["values"], groupings({"values": clusters}, {"values": len(arrays["values"])})["values"]
    ).design_effect


@dataclass(frozen=True)
class Layout:
    """What the sizes of the clusters alone say.

    ``correction`` ``(G,)`` is 1/(1 − m_g/n), which is G/(G−1) where all clusters are of one size; ``expected`` and
    ``quadratic`` are the coefficients, by power of ρ, of E and Q in `degrees`.
    """

    n: int
    sizes: np.ndarray
    correction: np.ndarray
    expected: np.ndarray
    quadratic: np.ndarray

    @classmethod
    def of(cls, sizes: np.ndarray) -> Layout:
        """From int ``(G,)``, G ≥ 2."""
        m = sizes.astype(np.float64)
        n = m.sum()
        correction = 1 / (1 - m / n)
        # E is linear and Q quadratic in rho: three places tell all coefficients
        (e0, q0), (_, q), (e1, q1) = (_moments(m, correction, rho) for rho in (0.0, 0.5, 1.0))
        expected = np.array([e0, e1 - e0])
        quadratic = np.array([q0, 4 * q - 3 * q0 - q1, 2 * q0 - 4 * q + 2 * q1])
        return cls(int(n), m, correction, expected, quadratic)

    def degrees(self, rho: Any) -> Any:
        """Satterthwaite's degrees of freedom E²/Q under a correlation ``rho`` in [0, 1] within clusters."""
        polyval = np.polynomial.polynomial.polyval
        return polyval(rho, self.expected) ** 2 / polyval(rho, self.quadratic)


def clustered(squares: Any, sandwich: Any, between: Any, layout: Layout) -> tuple[Any, Any]:
    """Variance of a mean of clustered examples, and its degrees of freedom; arrays of any one shape.

    V = Σ_g e_g² / (1 − m_g/n) / n², with e_g the sum of cluster g's deviations from the mean: unbiased for independent
    examples whatever the cluster sizes m_g. Few or unequal clusters tell little of V; its degrees of freedom are
    Satterthwaite's for a correlation ρ within clusters, estimated by analysis of variance. V is at least what
    independent examples would give.

    Source: Bell and McCaffrey 2002, "Bias reduction in standard errors for linear regression with multi-stage samples"
    (the correction); Imbens and Kolesár 2016, "Robust standard errors in small samples: some practical advice"
    (the degrees of freedom with an estimated ρ); Pustejovsky and Tipton 2018, arXiv 1601.01981.

    Args:
        squares: Σ_i (y_i − ȳ)².
        sandwich: Σ_g e_g² / (1 − m_g/n).
        between: Σ_g e_g² / m_g.
    """
    n, groups = layout.n, len(layout.sizes)
    independent = squares / (n - 1) / n
    variance = np.maximum(sandwich / n**2, independent)
    mean_square_between = between / (groups - 1)
    within = np.maximum(squares - between, 0) / (n - groups) if n > groups else np.zeros_like(mean_square_between)
    typical = (n - (layout.sizes**2).sum() / n) / (groups - 1)
    total = mean_square_between + (typical - 1) * within
    rho = np.divide(mean_square_between - within, total, out=np.zeros_like(total), where=total > 0)
    rho = np.clip(rho, 0, 1) if n > groups else np.zeros_like(total)
    return variance, layout.degrees(rho)


def pooled_degrees(variances: Any, degrees: Any) -> Any:
    """Welch and Satterthwaite's degrees of freedom of a sum of independent variances; the last axis is summed.

    Infinite where no term with finite degrees contributes.

    Example:
        >>> float(pooled_degrees(np.array([1.0, 1.0]), np.array([10.0, 10.0])))
        20.0
    """
    variances = np.asarray(variances, dtype=np.float64)
    lost = (variances**2 / degrees).sum(axis=-1)
    total = variances.sum(axis=-1) ** 2
    return np.divide(total, lost, out=np.full(np.shape(total), math.inf), where=lost > 0)


def critical(level: float, df: Any = math.inf) -> Any:
    """Two-sided critical value: of the normal law where ``df`` is infinite, else of Student's t; shape of ``df``.

    Example:
        >>> round(float(critical(0.95)), 3), round(float(critical(0.95, 7)), 3)
        (1.96, 2.365)
    """
    from scipy.special import ndtri, stdtrit

    check_level(level)
    df = np.asarray(df, dtype=np.float64)
    upper = (1 + level) / 2
    finite = np.isfinite(df)
    return np.where(finite, stdtrit(np.where(finite, df, 1.0), upper), ndtri(upper))


def tail(statistic: Any, df: Any = math.inf) -> Any:
    """P(X ≥ ``statistic``) under the normal law where ``df`` is infinite, else under Student's t."""
    from scipy.special import ndtr, stdtr

    df = np.asarray(df, dtype=np.float64)
    finite = np.isfinite(df)
    return np.where(finite, stdtr(np.where(finite, df, 1.0), -np.asarray(statistic)), ndtr(-np.asarray(statistic)))


def _moments(m: np.ndarray, correction: np.ndarray, rho: float) -> tuple[float, float]:
    """E and Q: for the quadratic form V of cluster sums with variances v, E V = E and Var V = 2 Q.

    Cov(e_g, e_k) = v_g 1[g=k] − v_g h_k − h_g v_k + h_g h_k Σv with h = m/n, expanded so that no G × G matrix is made.
    """
    n = m.sum()
    h, v = m / n, m * (1 + (m - 1) * rho)
    total = v.sum()
    expected = (correction * (v * (1 - 2 * h) + h**2 * total)).sum()
    vv, vh, hh = ((correction * pair).sum() for pair in (v * v, v * h, h * h))
    off = 2 * vv * hh + 2 * vh**2 - 4 * total * vh * hh + total**2 * hh**2
    diagonal = (correction**2 * (v**2 + 2 * v * (h**2 * total - 2 * v * h))).sum()
    return float(expected), float(off + diagonal)
