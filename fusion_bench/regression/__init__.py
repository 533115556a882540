"""The gate: results held against baselines that lie in the repository. Knows results as dictionaries, no store."""

from fusion_bench.regression.baseline import Baseline, from_result, path_of
from fusion_bench.regression.settings import Settings, read_settings
from fusion_bench.regression.verdict import Finding, Verdict, judge, message

__all__ = ["Baseline", "Finding", "Settings", "Verdict", "from_result", "judge", "message", "path_of", "read_settings"]
