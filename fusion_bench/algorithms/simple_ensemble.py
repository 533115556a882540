"""Ensemble of the experts with equal weights."""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import EnsembleAlgorithm
from fusion_bench.models.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class SimpleEnsemble(EnsembleAlgorithm):
    """Predict with the mean of the experts' probabilities, p(c | x) = (1/T) Σᵢ pᵢ(c | x).

    Probabilities are averaged rather than logits, so that each expert counts alike whatever the scale of its logits.

    Source: Lakshminarayanan et al. 2017, "Deep ensembles", arXiv 1612.01474.

    Example:
        >>> SimpleEnsemble().combine({"a": nn.Identity(), "b": nn.Identity()}).names
        ('a', 'b')
    """

    def combine(self, members: dict[str, nn.Module]) -> Ensemble:
        return Ensemble(members)
