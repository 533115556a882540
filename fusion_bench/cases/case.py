"""A case: one algorithm on one model pool and one task pool."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """What is run, by names only.

    Attributes:
        overrides: ``group.field=value``, as on the command line.
        seed: None leaves the algorithm's YAML its own.
        kind, needs: from the algorithm's and pools' YAML; they describe the case and do not tell two cases apart.

    Example:
        >>> Case("ties", "clip_mini", "mini8", ("algorithm.scaling=0.4",)).id
        'ties[scaling=0.4]-clip_mini-mini8'
    """

    algorithm: str
    modelpool: str
    taskpool: str
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    device: str = "cpu"
    kind: str = field(default="merging", compare=False)
    needs: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """The algorithm with what was changed about it: the name of the run."""
        changed = [override.removeprefix("algorithm.") for override in self.overrides]
        changed += [f"seed={self.seed}"] if self.seed is not None else []
        changed += [f"device={self.device}"] if self.device != "cpu" else []
        return self.algorithm + (f"[{','.join(changed)}]" if changed else "")

    @property
    def id(self) -> str:
        """As pytest shows it."""
        return f"{self.label}-{self.modelpool}-{self.taskpool}"

    @property
    def experiment(self) -> str:
        """The MLflow experiment of its run."""
        return f"{self.modelpool}/{self.taskpool}"
