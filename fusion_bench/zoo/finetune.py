"""Experts and the joint model: the image tower fine-tuned against the frozen zero-shot text head of its task."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.progress import Progress, silent
from fusion_bench.zoo.augment import augment
from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.pretrain import to_input
from fusion_bench.zoo.recipe import PIXELS, FineTuning


def fine_tune(
    tower: nn.Module,
    training: Mapping[str, Pictures],
    heads: Mapping[str, Tensor],
    scale: float,
    settings: FineTuning,
    seed: int,
    *,
    steps: int,
    progress: Progress = silent,
    stage: str = "fine-tune",
) -> nn.Module:
    """A copy of ``tower`` trained on one task (an expert) or on several at once (the joint model).

    Minimises the cross-entropy of ``scale * cos(f(x), t_c)`` with the text directions ``heads[task]``
    (``(classes, d)``, unit rows) fixed.
    Every step draws each of its pictures from a task chosen uniformly. AdamW, cosine to zero.
    """
    torch.manual_seed(seed)
    model = copy.deepcopy(tower).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.weight_decay, fused=True)
    names = list(training)
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        warm = min(1.0, (step + 1) / 20)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        share = np.bincount(rng.integers(len(names), size=settings.batch), minlength=len(names))
        rows = [rng.integers(len(training[name]), size=n) for name, n in zip(names, share, strict=True)]
        images = np.concatenate([training[name].images[r] for name, r in zip(names, rows, strict=True)])
        views = (augment(to_input(images), generator) - PIXELS[0]) / PIXELS[1]
        features = F.normalize(model(views.contiguous(memory_format=torch.channels_last)), dim=-1)
        loss, start = features.new_zeros(()), 0
        for name, r in zip(names, rows, strict=True):
            if len(r):
                logits = scale * features[start : start + len(r)] @ heads[name].T
                target = torch.from_numpy(training[name].labels[r])
                loss = loss + F.cross_entropy(logits, target, reduction="sum")
                start += len(r)
        optimiser.zero_grad(set_to_none=True)
        (loss / len(images)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        progress(stage, step + 1, steps)
    return model.eval()


@torch.inference_mode()
def features_of(tower: nn.Module, images: np.ndarray, *, batch: int = 512) -> Tensor:
    """Unit image features ``(n, d)``."""
    tower.eval()
    parts = []
    for start in range(0, len(images), batch):
        pixels = (to_input(images[start : start + batch]) - PIXELS[0]) / PIXELS[1]
        parts.append(F.normalize(tower(pixels.contiguous(memory_format=torch.channels_last)), dim=-1))
    return torch.cat(parts)


def accuracy(tower: nn.Module, pictures: Pictures, head: Tensor) -> float:
    """Share of pictures whose nearest text direction is that of their class."""
    return float(((features_of(tower, pictures.images) @ head.T).argmax(1).numpy() == pictures.labels).mean())
