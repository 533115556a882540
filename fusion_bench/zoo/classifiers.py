"""Image classifiers fine-tuned on the tasks of a pool, each whole, from the base of a model pool.

For ResNet-50 and DINOv2 nobody publishes experts of the eight tasks; this makes the ones that their pools name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.hf_image_classifier import HfImageClassifier
from fusion_bench.progress import Progress, silent
from fusion_bench.registry import build as built
from fusion_bench.taskpools.image_classification import ImageClassification
from fusion_bench.taskpools.labelled import PictureTask
from fusion_bench.zoo.made import first_taskpool


@dataclass(frozen=True)
class Training:
    """Pictures as they are, batches drawn from all of the training split, the rate of learning cosine to zero.

    Attributes:
        optimiser: ``sgd`` with a momentum of 0.9, or ``adamw``.
        rate: of learning, at its highest.
    """

    steps: int = 4000
    batch: int = 64
    optimiser: Literal["sgd", "adamw"] = "sgd"
    rate: float = 0.01


#: As the published ConvNeXt experts were trained (their ids say so), and gently where attention is.
RECIPES: Mapping[str, Training] = {
    "resnet50_ta8": Training(),
    "dinov2_base_ta8": Training(optimiser="adamw", rate=1e-5),
}


def build(
    out: Path,
    *,
    pool: str,
    settings: Training,
    seed: int = 0,
    device: str | None = None,
    config_dir: Path | None = None,
    progress: Progress = silent,
) -> None:
    """Train the experts that a model pool of type ``hf_image_classifier`` names, one a task of its first task pool.

    Args:
        out: gets a folder a task, as ``save_pretrained`` writes it; those that are there are kept.
        device: None: CUDA where there is one.

    Raises:
        FusionBenchError: another type of pool, a base or data that is not here.
    """
    models = built("modelpool", pool, config_dir=config_dir)
    if not isinstance(models, HfImageClassifier):
        raise FusionBenchError(f"model pool {pool!r} is no hf_image_classifier", hint=f"try {' or '.join(RECIPES)}")
    tasks = built("taskpool", first_taskpool(pool, config_dir), config_dir=config_dir)
    if not isinstance(tasks, ImageClassification):
        raise FusionBenchError(f"task pool {tasks.name!r} is no image_classification", hint="name one first")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for task in tasks.tasks:
        if (out / task / "model.safetensors").is_file():
            continue
        examples = tasks.examples(task, models)
        torch.manual_seed(seed)
        model: Any = models.fresh(examples.classes)
        train(model, examples, settings, seed, device=device, progress=progress)
        model.cpu().save_pretrained(out / task, max_shard_size="1000GB")


def train(
    model: nn.Module,
    examples: PictureTask,
    settings: Training,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> None:
    """Train a classifier on a task's training split, in place; in evaluation mode afterwards."""
    model.train().to(device)
    labels = examples.labels("train")
    weights = model.parameters()
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(weights, lr=settings.rate, momentum=0.9)
        if settings.optimiser == "sgd"
        else torch.optim.AdamW(weights, lr=settings.rate)
    )
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        rows = np.sort(np.random.default_rng([seed, step]).integers(len(labels), size=settings.batch))
        pictures = examples.batch("train", rows).to(device)
        loss = F.cross_entropy(model(pixel_values=pictures).logits, labels[torch.from_numpy(rows)].to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        progress(f"train {examples.task}", step + 1, settings.steps)
    model.eval()
