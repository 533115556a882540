"""A model that is read when it is needed, and given back after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Lent(nn.Module):
    """A member of an ensemble that stays with its pool: many large members need not be in memory together.

    Args:
        load: returns the model; its owner decides how long it keeps it.
        count: parameters that it has.
        owner, name: whose it is, and which.

    Example:
        >>> import torch
        >>> member = Lent(lambda: nn.Linear(2, 1, bias=False), 2)
        >>> member(torch.ones(3, 2)).shape, stored_parameters(nn.ModuleList([member, nn.Linear(2, 2)]))
        (torch.Size([3, 1]), 8)
    """

    def __init__(self, load: Callable[[], nn.Module], count: int, *, owner: object = None, name: str = "") -> None:
        super().__init__()
        self.load, self.count, self.owner, self.name = load, count, owner, name

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """What the model makes of its arguments."""
        return self.load()(*arguments, **options)


def at_hand(model: nn.Module) -> nn.Module:
    """The model itself, read now if it is lent."""
    return model.load() if isinstance(model, Lent) else model


def stored_parameters(model: nn.Module) -> int:
    """How many numbers have to be kept to use a model; a lent member counts as if it were here."""
    lent = sum(module.count for module in model.modules() if isinstance(module, Lent))
    return lent + sum(parameter.numel() for parameter in model.parameters())
