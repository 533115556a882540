"""Image classifiers fine-tuned on the tasks of a pool, each whole, from the base of a model pool.

For ResNet-50 and DINOv2 nobody publishes experts of the eight tasks; this makes the ones that their pools name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fusion_bench.modelpools.hf_image_classifier import HfImageClassifier
from fusion_bench.taskpools.image_classification import ImageClassification
from fusion_bench.taskpools.labelled import PictureTask
from fusion_bench.zoo import made


@dataclass(frozen=True)
class Training(made.Training):
    """Pictures as they are, batches drawn from all of the training split.

    Attributes:
        optimiser: ``sgd`` with a momentum of 0.9, or ``adamw``.
    """

    optimiser: Literal["sgd", "adamw"] = "sgd"


RECIPES: Mapping[str, Training] = {
    "resnet50_ta8": Training(steps=4000, batch=64, rate=0.01),
    "dinov2_base_ta8": Training(steps=4000, batch=64, rate=1e-5, optimiser="adamw"),
}
"""As the published ConvNeXt experts were trained (their ids say so), and gently where attention is."""


def make(models: HfImageClassifier, examples: PictureTask, folder: Path, how: made.How[Training]) -> None:
    """Train an expert of a task, and save it by ``save_pretrained``; see ``made.Making``."""
    model: Any = models.fresh(examples.classes)
    train(model, examples, how)
    model.cpu().save_pretrained(folder, max_shard_size="1000GB")


MAKING = made.Making(HfImageClassifier, ImageClassification, make)


def train(model: nn.Module, examples: PictureTask, how: made.How[Training]) -> None:
    """Train a classifier on a task's training split, in place; in evaluation mode afterwards.

    Raises:
        FusionBenchError: a loss is not finite.
    """
    model.train().to(how.device)
    labels = examples.labels("train")

    def loss_of(rng: np.random.Generator) -> Tensor:
        rows = np.sort(rng.integers(len(labels), size=how.settings.batch))
        pictures = examples.batch("train", rows).to(how.device)
        return F.cross_entropy(model(pixel_values=pictures).logits, labels[torch.from_numpy(rows)].to(how.device))

    weights = model.parameters()
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(weights, lr=how.settings.rate, momentum=0.9)
        if how.settings.optimiser == "sgd"
        else torch.optim.AdamW(weights, lr=how.settings.rate)
    )
    made.descend(optimiser, loss_of, how, task=examples.task)
    model.eval()
