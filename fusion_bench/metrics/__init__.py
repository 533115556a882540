"""Pure metric functions on arrays."""

from fusion_bench.metrics.classification import accuracy, calibration_error, cross_entropy, normalized_accuracy
from fusion_bench.metrics.intervals import mean_accuracy_interval, paired_difference_interval, wilson_interval

__all__ = [
    "accuracy",
    "calibration_error",
    "cross_entropy",
    "mean_accuracy_interval",
    "normalized_accuracy",
    "paired_difference_interval",
    "wilson_interval",
]
