"""What a state dict is here, and whether its numbers are fit for fusing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError

StateDict: TypeAlias = Mapping[str, Tensor]
"""Tensor names to tensors; read-only by convention."""

Experts: TypeAlias = Mapping[str, StateDict]
"""Expert names to their state dicts."""


def named_experts(experts: Experts | Sequence[StateDict]) -> dict[str, StateDict]:
    """The experts by name, in the order of their names, so that every sum over them has one order.

    A sequence gets its positions as names. An empty collection, or a single state dict, is refused.

    Example:
        >>> a, b = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
        >>> list(named_experts({"svhn": a, "mnist": b})), list(named_experts([a, b]))
        (['mnist', 'svhn'], ['0', '1'])
    """
    if isinstance(experts, Mapping):
        pairs = [(name, experts[name]) for name in sorted(experts)]
    else:
        digits = len(str(max(len(experts) - 1, 0)))  # zero-padded, so that names sort as positions do
        pairs = [(f"{i:0{digits}}", state) for i, state in enumerate(experts)]
    if not pairs:
        raise FusionBenchError("no experts to fuse", hint="give at least one state dict")
    for name, state in pairs:
        if not isinstance(state, Mapping):
            raise FusionBenchError(
                f"expert {name!r} is a {type(state).__name__}, not a state dict",
                hint="experts are a sequence of state dicts, or a mapping of names to state dicts",
            )
    return dict(pairs)


def check_finite(
    state: StateDict, *, name: str, hint: str = "the checkpoint is damaged, or its training diverged"
) -> None:
    """Check that every number of ``state`` is real and finite.

    Raises:
        FusionBenchError: a tensor with NaN, infinite or complex entries, with how many and where the first is.

    Example:
        >>> check_finite({"w": torch.tensor([1.0, float("nan")])}, name="mnist")
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: mnist: tensor 'w' has 1 non-finite of 2 entries, the first at [1]
          hint: the checkpoint is damaged, or its training diverged
    """
    for key, tensor in state.items():
        if tensor.is_complex():
            raise FusionBenchError(f"{name}: tensor {key!r} is complex ({tensor.dtype})", hint="fuse real tensors only")
        if not tensor.is_floating_point() or bool(tensor.sum().isfinite()):
            continue  # one pass without a temporary; a sum that only overflows is looked at again below
        bad = ~torch.isfinite(tensor)
        count = int(bad.sum())
        if count:
            first = bad.nonzero()[0].tolist()
            raise FusionBenchError(
                f"{name}: tensor {key!r} has {count} non-finite of {tensor.numel()} entries, the first at {first}",
                hint=hint,
            )
