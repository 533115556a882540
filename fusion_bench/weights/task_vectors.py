"""Task vectors, and the two loops that turn a formula for one tensor into one for a model.

A formula sees ``float64`` tensors of one name, one per expert, in the order of the experts' names; what it returns is
rounded to the base's type, through ``float32`` where that is a half precision, so that a half-precision result is the
rounded ``float32`` result. Differences of ``float32`` weights are exact in ``float64``, and a sum over a fixed
order has one result: fused weights do not depend on the order in which experts or tensors are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.state_dict import Experts, StateDict, check_finite, check_models, named_experts

Transform = Callable[[str, str, Tensor], Tensor]
"""``transform(expert, tensor_name, delta) -> delta``."""


def merge_tensors(
    base: StateDict, experts: Experts | Sequence[StateDict], rule: Callable[[str, list[Tensor]], Tensor]
) -> dict[str, Tensor]:
    """Merge models tensor by tensor: ``result[name] = rule(name, [expert[name] for each expert])``.

    Args:
        base: gives names, shapes, types, and the tensors that are not floating (counters, indices, masks), which are
            carried over unmerged.
        experts: the models, as names to state dicts or as a sequence.
        rule: formula for one tensor, on ``float64``; must not write into its inputs.

    Raises:
        FusionBenchError: models that do not fit each other, non-finite inputs, or a non-finite result.

    Example:
        >>> merge_tensors({"w": torch.zeros(2)}, [{"w": torch.ones(2)}], lambda name, tensors: 3 * tensors[0])
        {'w': tensor([3., 3.])}
    """
    models = named_experts(experts)
    check_models(base, models)
    merged: dict[str, Tensor] = {}
    for name, tensor in base.items():
        if tensor.is_floating_point():
            result = rule(name, [_working(model[name], tensor) for model in models.values()])
            merged[name] = _rounded(_shaped(name, result, tensor), tensor.dtype)
        else:
            merged[name] = tensor.clone()
    check_finite(merged, name="the merged model")
    return merged


@dataclass(frozen=True)
class TaskVectors:
    """The differences Δᵢ = θᵢ − θ₀ of checked models, computed when asked for (``float64``), never stored.

    Args:
        base: θ₀.
        experts: θᵢ by name, in the order of names (see :meth:`of`).
        transforms: applied, in order, to every Δᵢ.

    Example:
        >>> vectors = TaskVectors.of({"w": torch.ones(2)}, [{"w": torch.tensor([3.0, 1.0])}])
        >>> vectors.deltas("w")
        [tensor([2., 0.], dtype=torch.float64)]
        >>> vectors.merge(lambda name, deltas: sum(deltas))
        {'w': tensor([2., 0.], dtype=torch.float64)}
    """

    base: StateDict
    experts: Experts
    transforms: tuple[Transform, ...] = ()

    @classmethod
    def of(cls, base: StateDict, experts: Experts | Sequence[StateDict]) -> TaskVectors:
        """Check the models against each other (see ``check_models``) and order them by name."""
        models = named_experts(experts)
        check_models(base, models)
        return cls(base, models)

    def map(self, transform: Transform) -> TaskVectors:
        """The same vectors with ``transform(expert, tensor_name, delta)`` applied to each tensor of each."""
        return replace(self, transforms=(*self.transforms, transform))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the floating tensors, sorted: the order of the flattened task vector."""
        return tuple(sorted(name for name, tensor in self.base.items() if tensor.is_floating_point()))

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each tensor begins in the flattened task vector."""
        offsets, total = {}, 0
        for name in self.names:
            offsets[name] = total
            total += self.base[name].numel()
        return offsets

    @property
    def size(self) -> int:
        """Entries of one task vector."""
        return sum(self.base[name].numel() for name in self.names)

    def delta(self, expert: str, name: str) -> Tensor:
        """One tensor of one task vector, ``float64``, in the tensor's own shape."""
        base = self.base[name]
        delta = _working(self.experts[expert][name], base) - base.double()
        for transform in self.transforms:
            delta = transform(expert, name, delta)
        return delta

    def deltas(self, name: str) -> list[Tensor]:
        """One tensor of every task vector, in the order of the experts' names."""
        return [self.delta(expert, name) for expert in self.experts]

    def merge(self, rule: Callable[[str, list[Tensor]], Tensor]) -> dict[str, Tensor]:
        """The merged task vector, ``rule(name, [Δᵢ])`` for every floating tensor, in ``float64``.

        Raises:
            FusionBenchError: the rule changes a tensor's shape.
        """
        merged: dict[str, Tensor] = {}
        for name in self.names:
            merged[name] = _shaped(name, rule(name, self.deltas(name)), self.base[name])
        return merged


def add_task_vector(base: StateDict, vector: StateDict, *, scaling: float) -> dict[str, Tensor]:
    """θ₀ + λ Δ, rounded to the base's types; tensors that Δ has not are carried over.

    An entry that does not move keeps the base's bits.

    Args:
        base: θ₀.
        vector: Δ, a merged task vector (``float64``).
        scaling: λ.

    Raises:
        FusionBenchError: the result overflows the base's type, or is not finite.

    Example:
        >>> add_task_vector({"w": torch.ones(2), "n": torch.tensor(3)}, {"w": torch.ones(2).double()}, scaling=0.5)
        {'w': tensor([1.5000, 1.5000]), 'n': tensor(3)}
    """
    merged: dict[str, Tensor] = {}
    for name, tensor in base.items():
        if name in vector:
            step = scaling * vector[name]
            merged[name] = torch.where(step == 0, tensor, _rounded(tensor + step, tensor.dtype))
        else:
            merged[name] = tensor.clone()
    check_finite(merged, name="the merged model")
    return merged


def ordered_sum(tensors: Sequence[Tensor]) -> Tensor:
    """Sum from the first to the last, into a new tensor.

    Example:
        >>> ordered_sum([torch.ones(2), torch.ones(2)])
        tensor([2., 2.])
    """
    total = tensors[0].clone()
    for tensor in tensors[1:]:
        total += tensor
    return total


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """Mean of tensors of one shape: the rule for whatever a method has no better rule for.

    Example:
        >>> mean([torch.zeros(2), torch.ones(2)])
        tensor([0.5000, 0.5000])
    """
    return ordered_sum(tensors) / len(tensors)


def _shaped(name: str, result: Tensor, like: Tensor) -> Tensor:
    if result.shape != like.shape:
        shapes = f"of shape {tuple(like.shape)} into {tuple(result.shape)}"
        raise FusionBenchError(f"the merge rule turned tensor {name!r} {shapes}")
    return result


def _rounded(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.clone() if dtype == torch.float64 else tensor.float().to(dtype)  # a rule may return its input


def _working(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.detach().to(device=like.device, dtype=torch.float64)
