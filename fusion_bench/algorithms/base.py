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
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fusion_bench.algorithms.options import Pair, Position, Scaling, choose_pair
from fusion_bench.models.ensemble import Ensemble
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.state_dict import Experts, StateDict, check_finite, named_experts
from fusion_bench.weights.task_vectors import add_task_vector, merge_tensors

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
        check_finite(
            merged, name="the merged model", hint="its inputs are finite: the method divides by 0 or overflows"
        )
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
class PathAlgorithm(MergingAlgorithm):
    """Takes a point on a path between two models of the pool. A subclass writes ``point``.

    Two models are what such a method is defined for. ``between`` names them (``base`` may be one); without it they are
    the pool's first two experts, and further ones are not read.
    """

    t: Position = 0.5
    between: Pair = None

    @abstractmethod
    def point(self, first: Tensor, second: Tensor) -> Tensor:
        """The point at ``t`` between two tensors (``float64``): the first at 0, the second at 1."""

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        return [name for name in choose_pair(expert_names, self.between) if name != "base"]

    def merge(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return merge_pair(base, experts, self.point, between=self.between)


def merge_pair(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    point: Callable[[Tensor, Tensor], Tensor],
    *,
    between: tuple[str, str] | None,
) -> dict[str, Tensor]:
    """``point(first[name], second[name])`` for the floating tensors of the two chosen models; others are the base's.

    Example:
        >>> import torch
        >>> models = {"a": {"w": torch.ones(1)}, "b": {"w": torch.zeros(1)}}
        >>> merge_pair({"w": torch.zeros(1)}, models, lambda first, second: first - second, between=("b", "a"))
        {'w': tensor([-1.])}
    """
    given = experts if isinstance(experts, Mapping) else named_experts(experts)
    pair = choose_pair(list(given), between)
    models = {**given, "base": base}
    swapped = pair[0] > pair[1]  # merge_tensors hands models over in the order of their names

    def rule(name: str, ends: list[Tensor]) -> Tensor:
        return point(ends[1], ends[0]) if swapped else point(ends[0], ends[1])

    return merge_tensors(base, {name: models[name] for name in pair}, rule)


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
