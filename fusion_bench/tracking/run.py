"""One tracked run: opened before work starts, closed whatever happens, filled at the end."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking.store import Store

_TAG_LIMIT = 7900  # MLflow cuts longer values silently
_BATCH = 90  # a server accepts 100 params a call


class TrackedRun:
    """A context manager around one MLflow run.

    Leaving it normally marks the run FINISHED, an exception FAILED with the traceback as an artifact, an interrupt
    (SIGINT, or SIGTERM turned into KeyboardInterrupt) KILLED.
    """

    def __init__(self, store: Store, experiment: str, name: str, tags: Mapping[str, str]) -> None:
        self._store, self._client = store, store.client
        self._experiment_id = store.experiment(experiment)
        self._name, self._tags = name, {key: value[:_TAG_LIMIT] for key, value in tags.items()}
        self.id = ""
        self._uploaded = False

    def __enter__(self) -> TrackedRun:
        self.id = self._client.create_run(self._experiment_id, tags=self._tags, run_name=self._name).info.run_id
        return self

    def log(self, metrics: Mapping[str, float], params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Everything at once.

        Raises:
            FusionBenchError: a metric that is not finite: it would be stored as something else.
        """
        from mlflow.entities import Metric, Param, RunTag

        wrong = [f"{name} = {value}" for name, value in metrics.items() if not math.isfinite(value)]
        if wrong:
            raise FusionBenchError(f"not finite: {', '.join(wrong)}")
        now = int(time.time() * 1000)
        found = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        given = [Param(name, str(value)) for name, value in params.items()]
        marks = [RunTag(name, value[:_TAG_LIMIT]) for name, value in tags.items()]
        self._client.log_batch(self.id, metrics=found, params=given[:_BATCH], tags=marks)
        for start in range(_BATCH, len(given), _BATCH):
            self._client.log_batch(self.id, params=given[start : start + _BATCH])

    def datasets(self, digests: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        """One data set chip a task."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(task, digest[:32], "local", "{}", profile=json.dumps({"num_rows": sizes[task]})),
                [InputTag("mlflow.data.context", "evaluation")],
            )
            for task, digest in digests.items()
        ]
        self._client.log_inputs(self.id, datasets=inputs)

    def model(self, name: str, metrics: Mapping[str, float], params: Mapping[str, Any]) -> None:
        """A logged model without files of its own (they are the run's artifacts): it fills the column Models."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

        tags = {"mlflow.model.isExternal": "true"}
        texts = {key: str(value) for key, value in params.items()}
        logged = self._client.create_logged_model(self._experiment_id, name, self.id, tags, texts, "fused")
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        now = int(time.time() * 1000)
        found = [Metric(k, float(v), now, 0, model_id=logged.model_id, run_id=self.id) for k, v in metrics.items()]
        self._client.log_batch(self.id, metrics=found)
        self._client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, 0)])

    def artifacts(self, folder: Path) -> None:
        """Every file below a folder that is complete; if the run does not end well, none of them stays."""
        self._uploaded = True
        self._client.log_artifacts(self.id, str(folder))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._client.set_terminated(self.id, "FINISHED")
            return
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        self._close(error, "KILLED" if interrupted else "FAILED")

    def _close(self, error: BaseException, status: str) -> None:
        try:
            if self._uploaded:  # whatever of them arrived belongs to no finished case
                self._store.remove_artifacts(self.id)
            if status == "FAILED":
                text = "".join(traceback.format_exception(error))
                self._client.log_text(self.id, text, "traceback.txt")
                summary = f"{type(error).__name__}: {error}"
                self._client.set_tag(self.id, "error", summary[:_TAG_LIMIT])
                self._client.set_tag(self.id, "mlflow.note.content", f"**{status}**\n\n```\n{summary[:2000]}\n```")
        finally:
            self._client.set_terminated(self.id, status)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as ``a.b: value``; lists stay one value.

    Example:
        >>> flat({"algorithm": {"scaling": 0.3}, "seed": 0})
        {'algorithm.scaling': 0.3, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found[name] = ", ".join(map(str, value))
        else:
            found[name] = value
    return found
