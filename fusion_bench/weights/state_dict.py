"""What a state dict is here, and the checks that make two of them fit for fusing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest

StateDict: TypeAlias = Mapping[str, Tensor]
"""Tensor names to tensors; read-only by convention."""

Experts: TypeAlias = Mapping[str, StateDict]
"""Expert names to their state dicts."""

_SHOWN = 3  # problems spelled out in one message; the rest are counted


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


def check_compatible(
    base: StateDict, other: StateDict, *, name: str, base_name: str = "base", allow_extra: bool = False
) -> None:
    """Check that ``other`` has the tensors of ``base``: the same names, shapes and sort of numbers.

    Args:
        base: what is expected.
        other: what is checked.
        name: how messages call ``other`` (an expert, a file).
        base_name: how messages call ``base``.
        allow_extra: accept tensors that ``base`` has not.

    Raises:
        FusionBenchError: a missing, extra or mis-shaped tensor, or one that holds floats in only one of the two;
            the message names the tensors, both shapes and the nearest name.

    Example:
        >>> check_compatible({"w": torch.zeros(2)}, {"w": torch.zeros(3)}, name="mnist")
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: mnist does not fit base: tensor 'w' has shape (3,), base has (2,)
          hint: fuse checkpoints of one architecture only, fine-tuned from the same base
    """
    problems: list[str] = []
    extra = [key for key in other if key not in base]
    for key, expected in base.items():
        if key not in other:
            problems.append(f"tensor {key!r} {tuple(expected.shape)} is missing{_meant(key, extra)}")
            continue
        found = other[key]
        if found.shape != expected.shape:
            shapes = f"has shape {tuple(found.shape)}, {base_name} has {tuple(expected.shape)}"
            problems.append(f"tensor {key!r} {shapes}")
        elif found.is_floating_point() != expected.is_floating_point():
            problems.append(f"tensor {key!r} is {found.dtype}, {base_name} has {expected.dtype}")
    if not allow_extra:
        problems += [
            f"tensor {key!r} {tuple(other[key].shape)} is not in {base_name}{_meant(key, base)}" for key in extra
        ]
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise FusionBenchError(
            f"{name} does not fit {base_name}: {'; '.join(problems[:_SHOWN])}{more}",
            hint="fuse checkpoints of one architecture only, fine-tuned from the same base",
        )


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


def check_models(base: StateDict, experts: Experts) -> None:
    """Check the base and every expert: finite, and of one architecture.

    Example:
        >>> check_models({"w": torch.zeros(2)}, {"mnist": {"w": torch.ones(2)}})
    """
    check_finite(base, name="base")
    for name, state in experts.items():
        check_compatible(base, state, name=f"expert {name!r}")
        check_finite(state, name=f"expert {name!r}")


def _meant(key: str, choices: Iterable[str]) -> str:
    near = nearest(key, choices, count=1)
    return f" (nearest: {near[0]!r})" if near else ""
