"""A saved view of an experiment's runs: which columns the UI shows.

By itself MLflow's run table shows no metric at all, and keeps a person's choice of columns in that person's browser.
What its "share view" stores is an experiment tag, which a link can name; so a view made here opens everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from fusion_bench.tracking.links import VIEW
from fusion_bench.tracking.store import Store


def save_view(store: Store, experiment: str, tasks: Sequence[str]) -> None:
    """Write the view ``leaderboard``: mean, share of the experts', each task, cost, kind; best mean first."""
    metrics = ["accuracy/mean", "normalized/mean", *(f"accuracy/{task}" for task in tasks), "cost/fusion_seconds"]
    state = {
        "searchFilter": "",
        "orderByKey": "metrics.`accuracy/mean`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": [*(f"metrics.`{name}`" for name in metrics), "tags.`kind`", "params.`algorithm.scaling`"],
    }
    store.client.set_experiment_tag(store.experiment(experiment), f"mlflow.sharedViewState.{VIEW}", json.dumps(state))
