"""Pure metric functions on arrays: what predictions are worth, and what differences between runs mean.

Further functions are taken from their files: ``ranking`` (groups that cannot be told apart), ``power`` (the smallest
difference a pool can detect), ``seeds``, ``sign_flip``, ``effect_size``, ``variance`` (design effects of clusters).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.metrics.classification import accuracy, calibration_error, cross_entropy, normalized_accuracy
    from fusion_bench.metrics.intervals import mean_accuracy_interval, wilson_interval
    from fusion_bench.metrics.mcnemar import mcnemar_tests
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.paired import paired_difference, paired_difference_interval

__all__ = [
    "accuracy",
    "calibration_error",
    "cross_entropy",
    "holm",
    "mcnemar_tests",
    "mean_accuracy_interval",
    "normalized_accuracy",
    "paired_difference",
    "paired_difference_interval",
    "wilson_interval",
]

__getattr__ = late(
    __name__,
    {
        "accuracy": "classification",
        "calibration_error": "classification",
        "cross_entropy": "classification",
        "holm": "multiplicity",
        "mcnemar_tests": "mcnemar",
        "mean_accuracy_interval": "intervals",
        "normalized_accuracy": "classification",
        "paired_difference": "paired",
        "paired_difference_interval": "paired",
        "wilson_interval": "intervals",
    },
)
