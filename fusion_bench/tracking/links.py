"""Lines a person can copy: the UI's command, and links into it with sort and filter set."""

from __future__ import annotations

import shlex
import urllib.parse

from fusion_bench.tracking.location import StoreLocation

DEFAULT_PORT = 5000


def ui_command(location: StoreLocation) -> str:
    """The plain command that opens this store.

    Example:
        >>> ui_command(StoreLocation("sqlite:////tmp/mlflow.db", None))
        'mlflow ui --backend-store-uri sqlite:////tmp/mlflow.db'
    """
    return location.uri if location.is_remote else f"mlflow ui --backend-store-uri {shlex.quote(location.uri)}"


def experiment_link(
    experiment_id: str,
    *,
    session: str | None = None,
    charts: bool = False,
    root: str = f"http://127.0.0.1:{DEFAULT_PORT}",
) -> str:
    """The runs of an experiment, best mean accuracy first; of one session only where it is given.

    Example:
        >>> experiment_link("1")
        'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&orderByKey=metrics.%60accuracy%2Fmean%60&orderByAsc=false'
    """
    # without a workflow the UI opens with the navigation for language-model applications
    query = {"workflowType": "machine_learning", "orderByKey": "metrics.`accuracy/mean`", "orderByAsc": "false"}
    if session is not None:
        query["searchFilter"] = f"tags.session = '{session}'"
    if charts:
        query["compareRunsMode"] = "CHART"
    return f"{root}/#/experiments/{experiment_id}/runs?{urllib.parse.urlencode(query)}"
