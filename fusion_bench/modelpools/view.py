"""A model pool with some of its experts hidden: what may not be read cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import unknown_name
from fusion_bench.modelpools.base import ModelPool

if TYPE_CHECKING:
    from torch import Tensor, nn


def restricted(pool: ModelPool, experts: Sequence[str]) -> ModelPool:
    """``pool`` with these experts only, in the pool's own order; the pool itself where none is left out.

    The base, the text tower and the loaded tensors are shared. A multi-task model, trained on the data of all tasks, is
    hidden with the first expert that is.

    Raises:
        FusionBenchError: an expert that the pool has not.
    """
    for name in experts:
        if name not in pool.expert_names:
            raise unknown_name("expert", name, pool.expert_names, where=f"pool {pool.name!r}")
    kept = tuple(name for name in pool.expert_names if name in experts)
    return pool if kept == pool.expert_names else _View(whole(pool), kept)


def whole(pool: ModelPool) -> ModelPool:
    """The pool behind a restricted one; any other pool as it is."""
    return pool._pool if isinstance(pool, _View) else pool


class _View(ModelPool):
    def __init__(self, pool: ModelPool, experts: tuple[str, ...]) -> None:
        self._pool, self.expert_names = pool, experts
        self.name = pool.name

    @property
    def has_multitask(self) -> bool:
        return False

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        return self._pool.state_dict(name)

    def model(self, name: str) -> nn.Module:
        self.check_name(name)
        return self._pool.model(name)

    def lent(self, name: str) -> nn.Module:
        self.check_name(name)
        return self._pool.lent(name)

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        return self._pool.build(state)

    def content_hash(self) -> str:
        return self._pool.content_hash()

    def save(self, model: nn.Module, folder: Path) -> None:
        self._pool.save(model, folder)

    def owns(self, model: nn.Module) -> str | None:
        return self._pool.owns(model)

    def bytes_held(self) -> int:
        return self._pool.bytes_held()

    def __getattr__(self, name: str) -> Any:  # what pools of one kind have beside: a text encoder, an image size
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._pool, name)
