"""What an algorithm is: a small frozen object whose fields are its hyper-parameters.

A merging method is one file and one class, which says how a piece of the result follows from the same piece of the
inputs; the engine in ``weights`` runs it on state dicts in memory and on files of any size::

    @dataclass(frozen=True, kw_only=True)        # pydantic.dataclasses
    class SimpleAverage(MergingAlgorithm):
        def prepare(self, scan: Scan) -> Merge:
            count = len(scan.experts)
            return lambda piece: sum(piece.weights(number) for number in range(count)) / count  # any torch
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fusion_bench.algorithms.options import Pair, Position, Scaling, choose_pair
from fusion_bench.models.ensemble import Ensemble
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.pieces import BASE, Piece
from fusion_bench.weights.rule import Merge, Rule, Scan
from fusion_bench.weights.state_dict import Experts, StateDict

if TYPE_CHECKING:
    from fusion_bench.modelpools.base import ModelPool

Kind = Literal["reference", "merging", "ensemble", "mixing"]
DataAccess = Literal["weights", "inputs", "labels", "training", "test_inputs"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Algorithm(ABC):
    """Makes one model of a pool's models.

    A subclass is again a frozen pydantic dataclass: fields are options, typed and ranged (see ``options``), unknown
    ones are refused. Class variables declare what it is and what it may see; ``deterministic`` says that the same
    inputs and options, the seed among them, give the same result to the last bit on one machine, ``routed`` that the
    result is one model per expert, so that it is none for a task without.
    """

    kind: ClassVar[Kind]
    data_access: ClassVar[tuple[DataAccess, ...]] = ("weights",)
    random: ClassVar[bool] = False
    routed: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True

    @abstractmethod
    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        """The fused model; the pool's own models and state dicts stay as they are."""


@dataclass(frozen=True, kw_only=True)
class MergingAlgorithm(Algorithm, Rule):
    """Merges weights: the result is one model of the pool's architecture. A subclass writes ``prepare`` only."""

    kind: ClassVar[Kind] = "merging"

    def merge(self, base: StateDict, experts: Experts | Sequence[StateDict]) -> dict[str, Tensor]:
        """The merged state dict; inputs are not written to, and the result shares no memory with them."""
        return merge_in_memory(self, base, experts, scaling=self.step_size)

    @property
    def step_size(self) -> float | None:
        """λ of a method that makes a task vector."""
        return None

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        return pool.build(
            merge_in_memory(self, *_states(self, pool, progress), scaling=self.step_size, progress=progress)
        )


@dataclass(frozen=True, kw_only=True)
class TaskVectorAlgorithm(MergingAlgorithm):
    """Merges task vectors into one and takes a scaled step along it: θ = θ₀ + λ Δ. ``prepare`` makes Δ.

    A search over λ computes Δ once and then calls ``add_task_vector`` per value: the same bits as ``merge``.
    """

    step: ClassVar[bool] = True

    scaling: Scaling

    @property
    def step_size(self) -> float | None:
        return self.scaling

    def task_vector(self, base: StateDict, experts: Experts | Sequence[StateDict]) -> dict[str, Tensor]:
        """Δ, in ``float64``, for the floating tensors; does not depend on ``scaling``."""
        return merge_in_memory(self, base, experts, scaling=None)


@dataclass(frozen=True, kw_only=True)
class PathAlgorithm(MergingAlgorithm):
    """Takes a point on a path between two models of the pool.

    Two models are what such a method is defined for. ``between`` names them (``base`` may be one); without it they are
    the pool's first two experts, and further ones are not read.
    """

    t: Position = 0.5
    between: Pair = None

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        return [name for name in choose_pair(expert_names, self.between) if name != "base"]

    def ends(self, scan: Scan) -> tuple[int, int]:
        """The numbers of the two models: of the one at 0, and of the one at 1."""
        first, second = (
            BASE if name == "base" else scan.experts.index(name) for name in choose_pair(scan.given, self.between)
        )
        return first, second


@dataclass(frozen=True, kw_only=True)
class EnsembleAlgorithm(Algorithm):
    """Keeps every expert and combines what they predict. A subclass writes ``combine`` only."""

    kind: ClassVar[Kind] = "ensemble"

    @abstractmethod
    def combine(self, members: dict[str, nn.Module]) -> Ensemble:
        """The ensemble of the experts, by name."""

    def run(self, pool: ModelPool, *, progress: Progress = silent) -> nn.Module:
        return self.combine({name: pool.lent(name) for name in pool.expert_names})


def _states(rule: Rule, pool: ModelPool, progress: Progress) -> tuple[StateDict, Experts]:
    names = rule.needed(pool.expert_names)
    experts = {}
    for done, name in enumerate(names):
        progress("load experts", done, len(names))
        experts[name] = pool.state_dict(name)
    progress("load experts", len(names), len(names))
    return pool.state_dict("base"), experts


__all__ = [
    "Algorithm",
    "EnsembleAlgorithm",
    "Merge",
    "MergingAlgorithm",
    "PathAlgorithm",
    "Piece",
    "Scan",
    "TaskVectorAlgorithm",
]
