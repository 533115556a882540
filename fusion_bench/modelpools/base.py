"""What a model pool is: a base, experts fine-tuned from it, and how a state dict becomes a model again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

from fusion_bench.errors import FusionBenchError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

BASE, MULTITASK = "base", "multitask"

_KEPT = 1 << 30  # bytes of built models that a pool keeps for their next use


class ModelPool(ABC):
    """A pool of models of one architecture. What goes in and comes out of them, its subclasses say.

    State dicts and models that it hands out belong to the pool: nobody writes to them.

    Attributes:
        name: as the user types it.
        expert_names: the experts, each called like the task it was tuned for.
        does: what its models do, in words.
    """

    does: ClassVar[str] = "do something of their own"

    name: str
    expert_names: tuple[str, ...]

    @property
    @abstractmethod
    def has_multitask(self) -> bool:
        """Whether a model trained on all tasks at once is in the pool."""

    @abstractmethod
    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        """What is fused of "base", an expert, or "multitask", checked against the base.

        Of large models it may be a ``Checkpoint``, which reads a tensor when it is asked for it.
        """

    @abstractmethod
    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A fresh model with these weights, in evaluation mode."""

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
        """One model of the pool, in evaluation mode; not to be written to.

        As long as anybody holds it, it is the same object each time. The pool itself holds those that were used last.
        """
        alive: WeakValueDictionary[str, nn.Module] = self.__dict__.setdefault("_alive", WeakValueDictionary())
        found = alive.get(name)
        if found is None:
            found = self._own(name).requires_grad_(False)
            alive[name] = found
        kept: dict[str, nn.Module] = self.__dict__.setdefault("_models", {})
        kept.pop(name, None)
        kept[name] = found  # the last of them: the first are those used longest ago
        while len(kept) > 1 and sum(map(_model_bytes, kept.values())) > _KEPT:
            del kept[next(iter(kept))]
        return found

    def _own(self, name: str) -> nn.Module:
        """What `model` keeps, made anew; for pools whose models differ in more than weights."""
        return self.build(self.state_dict(name))

    def lent(self, name: str) -> nn.Module:
        """One model of the pool, built when it is first used: for what is made of many."""
        from fusion_bench.models.lent import Lent

        self.check_name(name)
        return Lent(lambda: self.model(name), self._parameters(), owner=self, name=name)

    def _parameters(self) -> int:
        """Of each of its models: they are of one architecture."""
        if "_count" not in self.__dict__:
            self.__dict__["_count"] = sum(parameter.numel() for parameter in self.model(BASE).parameters())
        return int(self.__dict__["_count"])

    def owns(self, model: nn.Module) -> str | None:
        """The name of ``model`` if `model` or `lent` handed it out, else None."""
        if getattr(model, "owner", None) is self:
            return str(model.name)
        alive: WeakValueDictionary[str, nn.Module] = self.__dict__.get("_alive", WeakValueDictionary())
        return next((name for name, mine in alive.items() if mine is model), None)

    def bytes_held(self) -> int:
        """Bytes of the tensors that were read or built so far, and are kept."""
        states = [state.values() for state in self.__dict__.get("_states", {}).values()]
        read = sum(t.numel() * t.element_size() for tensors in states for t in tensors)
        return read + sum(map(_model_bytes, self.__dict__.get("_models", {}).values()))

    def check_name(self, name: str) -> None:
        """Refuse a model that the pool has not.

        Raises:
            FusionBenchError: an unknown name, or "multitask" where the pool has none.
        """
        if name == MULTITASK and not self.has_multitask:
            raise FusionBenchError(f"pool {self.name!r} has no multi-task model", hint="leave that row out")
        if name not in self.names:
            raise unknown_name("model", name, self.names, where=f"pool {self.name!r}")


def _model_bytes(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
