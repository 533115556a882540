"""What pools in the hub's formats have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fusion_bench.modelpools.base import MULTITASK, ModelPool
from fusion_bench.modelpools.hub_models import HubModels

if TYPE_CHECKING:
    from torch import Tensor


class HubPool(ModelPool):
    """A pool whose models are folders or repositories of the hub; a subclass opens them in its constructor."""

    _models_of: HubModels

    def _open(self, models: HubModels) -> None:
        self.name, self._models_of = models.pool, models
        self.expert_names = models.expert_names

    @property
    def has_multitask(self) -> bool:
        return MULTITASK in self._models_of.sources

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        return self._models_of.checkpoint(name)

    def content_hash(self) -> str:
        return self._models_of.content_hash()
