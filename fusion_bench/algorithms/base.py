"""What an algorithm is: a small frozen object whose fields are its hyper-parameters.

A merging method is one file: a pure function on state dicts, and a class that gives it options and a name::

    @dataclass(frozen=True, kw_only=True)        # pydantic.dataclasses
    class WeightedAverage(MergingAlgorithm):
        weights: Weights = None

        def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
            return weighted_average(base, experts, weights=self.weights)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fusion_bench.algorithms.options import Scaling
from fusion_bench.models.ensemble import Ensemble
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import add_task_vector

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool

Kind = Literal["reference", "merging", "ensemble", "mixing"]
DataAccess = Literal["weights", "inputs", "labels", "training", "test_inputs"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Algorithm(ABC):
    """Makes one model of a pool's models.

    A subclass is again a frozen pydantic dataclass: fields are options, typed and ranged (see ``options``), unknown
    ones are refused. Class variables declare what it is and what it may see.
    """

    kind: ClassVar[Kind]
    data_access: ClassVar[tuple[DataAccess, ...]] = ("weights",)
    random: ClassVar[bool] = False

    @abstractmethod
    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        """The fused model; the pool's own models and state dicts stay as they are."""


@dataclass(frozen=True, kw_only=True)
class MergingAlgorithm(Algorithm):
    """Merges weights: the result is one model of the pool's architecture. A subclass writes ``merge`` only."""

    kind: ClassVar[Kind] = "merging"

    @abstractmethod
    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        """The merged state dict; inputs are not written to, and the result shares no memory with them."""

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        """The experts that ``merge`` looks at, so that others need not be read: all, unless a method says otherwise."""
        return expert_names

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        names = self.needed(pool.expert_names)
        base, experts = pool.state_dict("base"), {}
        for done, name in enumerate(names):
            progress("load experts", done, len(names))
            experts[name] = pool.state_dict(name)
        progress("load experts", len(names), len(names))
        progress("merge", 0, 1)
        merged = self.merge(base, experts)
        progress("merge", 1, 1)
        return pool.build(merged)


@dataclass(frozen=True, kw_only=True)
class TaskVectorAlgorithm(MergingAlgorithm):
    """Merges task vectors into one and takes a scaled step along it: θ = θ₀ + λ Δ. A subclass writes ``task_vector``.

    A search over λ computes Δ once and then calls ``add_task_vector`` per value: the same bits as ``merge``.
    """

    scaling: Scaling

    @abstractmethod
    def task_vector(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        """Δ, in ``float64``, for the floating tensors; must not depend on ``scaling``."""

    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return add_task_vector(base, self.task_vector(base, experts), scaling=self.scaling)


@dataclass(frozen=True, kw_only=True)
class EnsembleAlgorithm(Algorithm):
    """Keeps every expert and combines what they predict. A subclass writes ``combine`` only."""

    kind: ClassVar[Kind] = "ensemble"

    @abstractmethod
    def combine(self, members: dict[str, nn.Module]) -> Ensemble:
        """The ensemble of the experts, by name."""

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        names = pool.expert_names
        members = {}
        for done, name in enumerate(names):
            progress("load experts", done, len(names))
            members[name] = pool.model(name)
        progress("load experts", len(names), len(names))
        return self.combine(members)
