"""Whether a model pool does what a task pool asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.view import whole

Kind = TypeVar("Kind", bound=ModelPool)


def require(pool: ModelPool, kind: Callable[..., Kind], *, by: str) -> Kind:
    """The pool, if it is of a kind.

    Args:
        kind: an abstract class of pools.
        by: who asks, for messages.

    Raises:
        FusionBenchError: it is of another.
    """
    behind = whole(pool)
    assert isinstance(kind, type)  # mypy takes no abstract class for a type[Kind]
    assert issubclass(kind, ModelPool)
    if not isinstance(behind, kind):
        raise FusionBenchError(
            f"{by} needs models that {kind.does}; those of model pool {pool.name!r} {behind.does}",
            hint="the YAML of a model pool lists under taskpools: what fits it",
        )
    return cast(Kind, pool)  # a restricted pool answers as the one behind it
