"""The most confident expert predicts."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass
from torch import nn

from fusion_bench.algorithms.base import EnsembleAlgorithm
from fusion_bench.models.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class MaxModelPredictor(EnsembleAlgorithm):
    """Predict, for each example, with the expert whose largest probability is largest.

    ``rule: elementwise_max`` takes each class's largest logit over the experts instead, as FusionBench does; it depends
    on the scale of the experts' logits.

    Source: Tang et al. 2024, "FusionBench", arXiv 2406.03280.

    Example:
        >>> MaxModelPredictor().combine({"a": nn.Identity()}).rule
        'most_confident'
    """

    rule: Literal["most_confident", "elementwise_max"] = "most_confident"

    def combine(self, members: dict[str, nn.Module]) -> Ensemble:
        return Ensemble(members, rule=self.rule)
