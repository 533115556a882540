"""Ensemble of the experts with weights."""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import EnsembleAlgorithm
from fusion_bench.algorithms.options import Weights, weights_by_name
from fusion_bench.errors import FusionBenchError
from fusion_bench.models.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class WeightedEnsemble(EnsembleAlgorithm):
    """Predict with the weighted mean of the experts' probabilities, p(c | x) = Σᵢ wᵢ pᵢ(c | x) / Σᵢ wᵢ.

    ``weights`` are non-negative, one per expert, equal when null.

    Source: Breiman 1996, "Stacked regressions" (convex combination of predictors).

    Example:
        >>> members = {"a": nn.Identity(), "b": nn.Identity()}
        >>> WeightedEnsemble(weights=[3, 1]).combine(members).weights
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """

    weights: Weights = None

    def combine(self, members: dict[str, nn.Module]) -> Ensemble:
        weights = weights_by_name(list(members), self.weights)
        negative = [name for name, weight in weights.items() if weight < 0]
        if negative:
            raise FusionBenchError(
                f"weights of an ensemble cannot be negative: {', '.join(negative)}", hint="give numbers of 0 or more"
            )
        return Ensemble(members, weights=[weights[name] for name in members])
