"""Lines a person can copy: the UI's command, and links into it with sort and filter set."""

from __future__ import annotations

import shlex
import urllib.parse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fusion_bench.tracking.location import StoreLocation

if TYPE_CHECKING:
    from fusion_bench.tracking.store import Store

DEFAULT_PORT = 5000

#: The saved view of `view.save_view`.
VIEW = "leaderboard"


def ui_command(location: StoreLocation) -> str:
    """The plain command that opens this store.

    Example:
        >>> ui_command(StoreLocation("sqlite:////tmp/mlflow.db", None))
        'mlflow ui --backend-store-uri sqlite:////tmp/mlflow.db'
    """
    return location.uri if location.is_remote else f"mlflow ui --backend-store-uri {shlex.quote(location.uri)}"


def view_link(experiment_id: str, *, root: str = f"http://127.0.0.1:{DEFAULT_PORT}") -> str:
    """All runs of an experiment with their metrics in columns, best mean accuracy first.

    Example:
        >>> view_link("1")
        'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=leaderboard'
    """
    return f"{root}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


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


def closing_lines(store: Store, experiments: Iterable[str]) -> list[str]:
    """What stands below results: where the runs are, the line that opens them, a link to each experiment's table."""
    place = store.location
    root = place.uri.rstrip("/") if place.is_remote else f"http://127.0.0.1:{DEFAULT_PORT}"
    lines = [f"MLflow runs: {place.uri}"]
    if not place.is_remote:
        lines.append(f"open them:   {ui_command(place)}")
    return lines + [f"{name}: {view_link(store.experiment(name), root=root)}" for name in dict.fromkeys(experiments)]
