"""Which fused models are kept, and the room they take, known before work starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fusion_bench.cases.case import Case
from fusion_bench.disk import byte_text
from fusion_bench.errors import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.modelpools.base import ModelPool

POLICIES = ("none", "best", "all")

#: Models below this many bytes are kept without being asked for.
SMALL = 50_000_000


def model_bytes(pool: ModelPool) -> int:
    """Bytes of one fused model of the pool, in the precision it is fused in."""
    return sum(tensor.numel() * tensor.element_size() for tensor in pool.state_dict("base").values())


def keeps(policy: str | None, size: int) -> bool:
    """Whether models of ``size`` bytes are kept: asked for, or small and not refused.

    Raises:
        FusionBenchError: an unknown policy.

    Example:
        >>> keeps(None, 8_000_000), keeps(None, 350_000_000), keeps("best", 350_000_000), keeps("none", 8)
        (True, False, True, False)
    """
    if policy is not None and policy not in POLICIES:
        raise unknown_name("choice for --save-models", policy, POLICIES)
    return policy in ("best", "all") or (policy is None and size < SMALL)


def is_new(model: nn.Module, pool: ModelPool) -> bool:
    """Whether a result is one model of the pool's architecture and not made of the pool's own files."""
    from fusion_bench.models.ensemble import Ensemble, TaskRouted

    return not isinstance(model, Ensemble | TaskRouted) and pool.owns(model) is None


def announcement(policy: str | None, size: int, cases: Iterable[Case]) -> str | None:
    """What will be kept and how large it is, for somebody who asked for it; None where nobody did.

    Example:
        >>> announcement("all", 350_000_000, [Case("ties", "clip_b32", "eight")] * 4)
        'keeping 4 fused models of 350 MB: 1.4 GB'
        >>> announcement("best", 350_000_000, [Case("ties", "clip_b32", "eight")] * 4)
        'keeping the best of 4 fused models: 350 MB'
    """
    count = sum(case.kind not in ("reference", "ensemble") for case in cases)  # those are made of the pool's own files
    if policy not in ("best", "all") or not count:
        return None
    if policy == "best":
        return f"keeping the best of {count} fused models: {byte_text(size)}"
    return f"keeping {count} fused models of {byte_text(size)}: {byte_text(count * size)}"
