"""What the page needs of a run. `tracking.records.Record` is one; a test may make its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from fusion_bench.metrics.predictions import Predictions


class Run(Protocol):
    """One finished case, read back.

    ``result`` is what `CaseResult.to_dict` gives, ``data`` the digest of the examples by task, ``started`` in UTC.
    """

    @property
    def run_id(self) -> str: ...
    @property
    def experiment(self) -> str: ...
    @property
    def started(self) -> datetime: ...
    @property
    def result(self) -> Mapping[str, Any]: ...
    @property
    def data(self) -> Mapping[str, str]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def label(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def is_reference(self) -> bool: ...

    def outcomes(self) -> Mapping[str, np.ndarray]:
        """Which examples were right, bool ``(n,)`` by task; a `FusionBenchError` where that is lost."""

    def predictions(self) -> Mapping[str, Predictions]:
        """Every evaluated example, by task; a `FusionBenchError` where that is lost."""


def where(run: Run) -> str:
    """A run as notes name it."""
    return f"run {run.run_id[:8]} ({run.label})"


def commit_of(run: Run) -> str:
    """Its commit, twelve digits at most, with ``+`` where the checkout had changes; empty where it has none."""
    commit = run.tags.get("commit", "")
    return commit[:12] + ("+" if commit.endswith("+") else "")
