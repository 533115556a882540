from __future__ import annotations

import pytest

from fusion_bench.metrics.measures import MEASURES, described, measure


def test_directions_are_those_of_the_harness_registry() -> None:
    registry = pytest.importorskip("lm_eval.api.registry")
    import lm_eval.api.metrics  # noqa: F401 - fills the registry

    theirs = registry.HIGHER_IS_BETTER_REGISTRY
    shared = set(theirs) & set(MEASURES)
    assert {"acc", "acc_norm", "exact_match", "perplexity", "brier_score", "ter"} <= shared
    assert {name: MEASURES[name].better for name in shared} == {
        name: "higher" if theirs[name] else "lower" for name in shared
    }


def test_what_a_map_of_depth_or_normals_reports_is_known() -> None:
    import numpy as np

    from fusion_bench.taskpools.dense.kinds import KINDS

    rows = {"segmentation": np.tile([3.0, 1, 0, 2], (3, 1)), "depth": np.ones((3, 7)), "normal": np.ones((3, 1805))}
    found = {kind: [spec.metric, *spec.scored(rows[kind])[1]] for kind, spec in KINDS.items()}
    assert len(found["depth"]) == 6
    assert all(measure(name).better for names in found.values() for name in names)
    # better for a perfect prediction: an error of nothing, a share of everything
    lower = {name for names in found.values() for name in names if measure(name).better == "lower"}
    assert lower == {"absolute_error", "relative_error", "rmse", "mean_angle", "median_angle"}


@pytest.mark.parametrize(
    ("name", "factor", "text"),
    [
        ("rmse", 1, "m, lower is better"),
        ("rmse", 100, "cm, lower is better"),
        ("rmse", 1000, "0.001 m, lower is better"),
        ("mean_angle", 1, "°, lower is better"),
        ("relative_error", 100, "lower is better"),
        ("brier_score.none", 1, "lower is better"),
        ("f1", 100, ""),
        ("acc_stderr", 1, ""),
        ("somebody's own", 1, ""),
    ],
)
def test_units_and_directions_in_words(name: str, factor: float, text: str) -> None:
    assert described(name, factor) == text
