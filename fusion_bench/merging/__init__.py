"""Merging checkpoints as a job: from paths or state dicts to a checkpoint with its card, or to a state dict."""

from fusion_bench.merging.job import merge
from fusion_bench.merging.report import MergePlan, MergeReport

__all__ = ["MergePlan", "MergeReport", "merge"]
