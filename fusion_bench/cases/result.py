"""What a case leaves in memory and in ``report.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class CaseResult:
    """The numbers of a finished case; everything in it is JSON.

    Attributes:
        case: algorithm, modelpool, taskpool, overrides, seed, device, id.
        metrics: flat, as logged: ``accuracy/<task>``, ``accuracy/mean``, ``normalized/…``, ``loss/…``, ``cost/…``.
        interval: 95 % interval of ``accuracy/mean`` over the test examples.
        scored_by: the metric of those tasks that are not scored by accuracy; their ``accuracy/<task>`` is that metric.
        references: accuracy per task of the bounds, ``pretrained`` and ``experts``, on the same examples.
        reference_measures: what else tasks measure of them, ``metric/task``, where they do.
        seedless: the fingerprint without the seed, the same for all seeds of a method; empty where it has none.
        search: what was tried on the validation split: ``{"scaling": [[value, mean accuracy], …]}``.
        outcomes: per task ``n`` examples, ``correct`` or ``scores`` (`metrics.packing.pack_outcome`) and
            ``predictions`` (their digest).
        reference_outcomes: the same of ``pretrained`` and ``experts``.
        clusters: which source each example comes from (`metrics.packing.pack_sources`), for tasks where some share one.
        data: digest of the evaluated examples, by task.
        trials, groups: what a protocol's fusions gave, the main one first, and the means reported of them; empty
            without one. Each but the main one has ``outcomes`` and ``data`` of its own.
        plugins: the user's own code that it ran (`provenance.plugin_sources`).
        deterministic: whether the same inputs give the same predictions, to the last, on one machine.
    """

    case: dict[str, Any]
    kind: str
    tasks: list[str]
    metrics: dict[str, float]
    interval: list[float] | None
    data_access: list[str]
    config: dict[str, Any]
    fingerprint: str
    tags: dict[str, str] = field(default_factory=dict)
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    reference_outcomes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    deterministic: bool = True
    trials: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    plugins: dict[str, str] = field(default_factory=dict)
    seedless: str = ""
    scored_by: dict[str, str] = field(default_factory=dict)
    reference_measures: dict[str, dict[str, float]] = field(default_factory=dict)
    run_id: str | None = None
    resumed: bool = False
    schema: int = SCHEMA

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy per task, in [0, 1]; of those in ``scored_by`` that metric."""
        return {task: self.metrics[f"accuracy/{task}"] for task in self.tasks}

    def to_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CaseResult:
        """Read what `to_dict` wrote.

        Example:
            >>> result = CaseResult({}, "merging", [], {}, None, [], {}, "f")
            >>> CaseResult.from_dict(result.to_dict()) == result
            True
        """
        return cls(**content)
