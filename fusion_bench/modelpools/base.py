"""What a model pool is: a base, experts fine-tuned from it, and how a state dict becomes a model again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

BASE, MULTITASK = "base", "multitask"


class ModelPool(ABC):
    """A pool of models of one architecture; only their image towers differ, the text tower is shared and frozen.

    State dicts and models that it hands out belong to the pool: nobody writes to them.

    Attributes:
        name: as the user types it.
        expert_names: the experts, each called like the task it was tuned for.
        image_size, mean, std: pixels of a side, and how they are standardised, a number a channel.
    """

    name: str
    expert_names: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    @abstractmethod
    def has_multitask(self) -> bool:
        """Whether a model trained on all tasks at once is in the pool."""

    @abstractmethod
    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        """The image tower of "base", an expert, or "multitask": float32, checked against the base."""

    @abstractmethod
    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A fresh image tower with these weights, in evaluation mode: ``(n, 3, h, w)`` to features ``(n, d)``."""

    @abstractmethod
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Unit text features ``(n, d)`` of the frozen text tower."""

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """What cosines are multiplied with to become logits."""

    @abstractmethod
    def content_hash(self) -> str:
        """A hash of every file that a fused model can depend on."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a model of this architecture: safetensors and JSON, no pickle."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every model of the pool."""
        return (BASE, *self.expert_names, *((MULTITASK,) if self.has_multitask else ()))

    def model(self, name: str) -> nn.Module:
        """One model of the pool, in evaluation mode; the same object each time, not to be written to."""
        owned: dict[str, Any] = self.__dict__.setdefault("_models", {})
        if name not in owned:
            owned[name] = self.build(self.state_dict(name))
            owned[name].requires_grad_(False)
        found: nn.Module = owned[name]
        return found

    def owns(self, model: nn.Module) -> str | None:
        """The name of ``model`` if `model` handed it out, else None."""
        owned: dict[str, Any] = self.__dict__.get("_models", {})
        return next((name for name, mine in owned.items() if mine is model), None)

    def bytes_held(self) -> int:
        """Bytes of the tensors that were read or built so far, and are kept."""
        states = [state.values() for state in self.__dict__.get("_states", {}).values()]
        built = [model.parameters() for model in self.__dict__.get("_models", {}).values()]
        return sum(t.numel() * t.element_size() for tensors in (*states, *built) for t in tensors)

    def check_name(self, name: str) -> None:
        """Refuse a model that the pool has not.

        Raises:
            FusionBenchError: an unknown name, or "multitask" where the pool has none.
        """
        if name == MULTITASK and not self.has_multitask:
            raise FusionBenchError(f"pool {self.name!r} has no multi-task model", hint="leave that row out")
        if name not in self.names:
            raise unknown_name("model", name, self.names, where=f"pool {self.name!r}")
