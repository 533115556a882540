"""Fused models that keep their members: ensembles, and models routed by task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError, unknown_name

Rule = Literal["mean_probability", "most_confident", "elementwise_max"]


def mean_probability(logits: Sequence[Tensor], weights: Tensor | None = None) -> Tensor:
    """Log of the weighted mean probability, log Σᵢ wᵢ softmax(zᵢ).

    Args:
        logits: zᵢ, T tensors (B, C).
        weights: (T,), non-negative and summing to one; equal when ``None``.

    Returns:
        (B, C) log-probabilities, of the logits' type: their softmax is the predicted distribution.

    Example:
        >>> mean_probability([torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])]).exp()
        tensor([[0.5000, 0.5000]])
    """
    log_probabilities = torch.stack([z.double().log_softmax(dim=-1) for z in logits])
    if weights is None:
        shares = log_probabilities.new_full((len(logits),), 1 / len(logits))
    else:
        shares = weights.to(log_probabilities)
    return (log_probabilities + shares.log()[:, None, None]).logsumexp(dim=0).to(logits[0].dtype)


def most_confident(logits: Sequence[Tensor]) -> Tensor:
    """For each example, the log-probabilities of the member that gives its best class the highest probability.

    Equally confident members: the first.

    Args:
        logits: T tensors (B, C).

    Returns:
        (B, C) log-probabilities.

    Example:
        >>> sure, unsure = torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0, 0.0]])
        >>> most_confident([unsure, sure]).argmax(dim=-1)
        tensor([1])
    """
    log_probabilities = torch.stack([z.double().log_softmax(dim=-1) for z in logits])  # float32 rounds 1 - 1e-8 to 1
    confidence = log_probabilities.amax(dim=-1)  # (T, B)
    best = (confidence == confidence.amax(dim=0)).int().argmax(dim=0)  # argmax of 0/1 says which is first
    return log_probabilities[best, torch.arange(best.numel(), device=best.device)].to(logits[0].dtype)


def elementwise_max(logits: Sequence[Tensor]) -> Tensor:
    """Each class's largest logit over the members, (B, C).

    Example:
        >>> elementwise_max([torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])])
        tensor([[1., 2.]])
    """
    return torch.stack(list(logits)).amax(dim=0)


class Ensemble(nn.Module):
    """Several models that predict together.

    Evaluation computes each member's logits for a task and hands them to :meth:`combine`.

    Args:
        members: models by name.
        rule: how logits become one prediction: the function of this module with that name.
        weights: one per member, for ``mean_probability`` only; non-negative, normalised to sum to one.

    Raises:
        FusionBenchError: no member, an unknown rule, or weights that do not fit.

    Example:
        >>> ensemble = Ensemble({"a": nn.Identity(), "b": nn.Identity()}, weights=[1.0, 3.0])
        >>> ensemble.combine([torch.tensor([[5.0, 5.0]]), torch.tensor([[5.0, 5.0]])]).exp()
        tensor([[0.5000, 0.5000]])
    """

    weights: Tensor | None

    def __init__(
        self,
        members: Mapping[str, nn.Module],
        *,
        rule: Rule = "mean_probability",
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not members:
            raise FusionBenchError("an ensemble needs at least one member")
        if rule not in get_args(Rule):
            raise unknown_name("ensemble rule", rule, get_args(Rule))
        self.names = tuple(members)
        self.rule = rule
        self.models = nn.ModuleList(members.values())  # a ModuleDict refuses names such as "keys" or "a.b"
        self.register_buffer("weights", None if weights is None else self._shares(weights))

    @property
    def members(self) -> dict[str, nn.Module]:
        """The members by name."""
        return dict(zip(self.names, self.models, strict=True))

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """One prediction (B, C) from the members' logits, in the order of ``names``.

        The softmax of the result is the predicted distribution.
        """
        if len(logits) != len(self.names):
            raise FusionBenchError(f"{len(logits)} sets of logits for {len(self.names)} members")
        if self.rule == "most_confident":
            return most_confident(logits)
        if self.rule == "elementwise_max":
            return elementwise_max(logits)
        return mean_probability(logits, self.weights)

    def _shares(self, weights: Sequence[float]) -> Tensor:
        if self.rule != "mean_probability":
            raise FusionBenchError(f"the rule {self.rule!r} takes no weights")
        total = math.fsum(weights)
        if len(weights) != len(self.names) or not math.isfinite(total) or total <= 0 or min(weights) < 0:
            raise FusionBenchError(
                f"weights {list(weights)} do not fit {len(self.names)} members", hint="one each, 0 or more, not all 0"
            )
        return torch.tensor(list(weights), dtype=torch.float64) / total


class TaskRouted(nn.Module):
    """One model per task; evaluation asks :meth:`for_task` and runs each task on its own.

    Args:
        models: models by task, or by the name of the expert whose tasks they are.

    Example:
        >>> TaskRouted({"mnist": nn.Identity()}).for_task("mnist")
        Identity()
    """

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not models:
            raise FusionBenchError("a routed model needs at least one task")
        self.names = tuple(models)
        self.models = nn.ModuleList(models.values())

    @property
    def members(self) -> dict[str, nn.Module]:
        """The models by task."""
        return dict(zip(self.names, self.models, strict=True))

    def for_task(self, task: str) -> nn.Module:
        """The model of one task.

        Raises:
            FusionBenchError: there is none for it.
        """
        if task not in self.names:
            raise unknown_name("task", task, self.names, where="the routed model")
        return self.members[task]
