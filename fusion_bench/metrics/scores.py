"""Metrics that are no share of right answers, as one number an example whose mean is the metric.

Intervals, tests and gates of this package are about means over examples. A metric that is none, such as a correlation,
is made one by the jackknife: an example's score is the metric plus n − 1 times what the metric loses without it,
centred so that the scores' mean is the metric itself. Their spread is that of the metric (Tukey's pseudo-values), and
paired differences of scores are those of two metrics on the same examples.
"""

from __future__ import annotations

import numpy as np

from fusion_bench.errors import FusionBenchError

SPEARMAN = "spearman"
MATTHEWS = "matthews"
_ROWS = 256  # of the n × n comparisons at once


def example_scores(value: float, without: np.ndarray) -> np.ndarray:
    """What each example adds to a metric: θ + (n − 1)(θ̄₋ − θ₋ᵢ), with mean θ.

    Source: Efron and Stein 1981, "The jackknife estimate of variance"; Miller 1974, "The jackknife: a review".

    Args:
        value: the metric θ of all n examples.
        without: θ₋ᵢ, the metric without example i; float64 ``(n,)``, n ≥ 2.

    Returns:
        float64 ``(n,)``.

    Example:
        >>> values = np.array([1.0, 2.0, 6.0])
        >>> example_scores(values.mean(), (values.sum() - values) / 2).tolist()  # of a mean: the values
        [1.0, 2.0, 6.0]
    """
    n = len(without)
    if n < 2:
        raise FusionBenchError(f"{n} example(s)", hint="what one adds is seen against others: give two or more")
    return value + (n - 1) * (without.mean() - without)


def spearman(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rank correlation ρ, in [-1, 1]; ties share their mean rank. 0 where either is constant: it orders
    nothing.

    Source: Spearman 1904, "The proof and measurement of association between two things".

    Args:
        prediction, truth: float64 ``(n,)``, n ≥ 2, finite.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
        0.5
    """
    from scipy.stats import rankdata

    x, y = _checked(prediction, truth)
    return float(_correlation(rankdata(x)[None, :], rankdata(y)[None, :], np.ones((1, len(x))))[0])


def pearson(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's correlation r, in [-1, 1]. 0 where either is constant.

    Source: Pearson 1895, "Note on regression and inheritance in the case of two parents".

    Args:
        prediction, truth: float64 ``(n,)``, n ≥ 2, finite.

    Example:
        >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])), 6)
        0.981981
    """
    from scipy.stats import pearsonr

    x, y = _checked(prediction, truth)
    if (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    return float(pearsonr(x, y).statistic)


def spearman_scores(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`spearman` as scores of examples: float64 ``(n,)``, n ≥ 3, with ρ as their mean.

    Without example i the rank of example j is r_j − [x_i < x_j] − ½[x_i = x_j]: no sorting anew.

    Example:
        >>> x, y = np.arange(50.0), np.arange(50.0) ** 2
        >>> spearman_scores(x, y).round(9).tolist() == [1.0] * 50
        True
    """
    from scipy.stats import rankdata

    x, y = _checked(prediction, truth)
    if len(x) < 3:
        raise FusionBenchError(f"a rank correlation of {len(x)} examples", hint="without one of them two must be left")
    ranks = rankdata(x), rankdata(y)
    without = np.empty(len(x))
    for start in range(0, len(x), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(x)))
        kept = np.ones((len(rows), len(x)))
        kept[np.arange(len(rows)), rows] = 0.0
        left = [
            rank - (values[rows, None] < values) - 0.5 * (values[rows, None] == values)
            for rank, values in zip(ranks, (x, y), strict=True)
        ]
        without[rows] = _correlation(left[0], left[1], kept)
    return example_scores(spearman(x, y), without)


def matthews(prediction: np.ndarray, label: np.ndarray) -> float:
    """Matthews' correlation of classes, in [-1, 1]: (c·n − Σ_k p_k t_k) / √((n² − Σ_k p_k²)(n² − Σ_k t_k²)), where c
    of n examples are right and class k is predicted p_k times and true t_k times. 0 where either is constant.

    Source: Matthews 1975, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme"; of more
    than two classes Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".

    Args:
        prediction, label: int64 ``(n,)``, n ≥ 1; -1 is a class like others.

    Example:
        >>> round(matthews(np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])), 6)
        0.57735
    """
    classes, codes = np.unique(np.concatenate([prediction, label]), return_inverse=True)
    said, true = (np.bincount(part, minlength=len(classes)) for part in np.split(codes, [len(prediction)]))
    n, right = len(label), int((prediction == label).sum())
    scale = float(n**2 - (said**2).sum()) * float(n**2 - (true**2).sum())
    return float(right * n - (said * true).sum()) / scale**0.5 if scale else 0.0


def _correlation(a: np.ndarray, b: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Pearson's, row by row, of the entries that are kept (1, others 0)."""
    count = kept.sum(axis=1, keepdims=True)
    a, b = ((values - (values * kept).sum(axis=1, keepdims=True) / count) * kept for values in (a, b))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    # ranks are halves: what is constant gives a scale of exactly 0 but for rounding of the mean
    return np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 1e-9)


def _checked(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise FusionBenchError(
            f"a correlation of arrays of shapes {x.shape} and {y.shape}",
            hint="both hold one number an example, two examples or more",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise FusionBenchError("a correlation of numbers that are not finite", hint="give the others a value first")
    return x, y
