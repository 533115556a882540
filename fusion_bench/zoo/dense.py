"""Experts of dense prediction: an encoder and a head trained together on one task, from the base of a model pool.

Nobody publishes such experts for NYUv2 with their heads; this makes the ones that ``nyuv2_resnet50`` names.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.dense_resnet import DenseResnet
from fusion_bench.progress import Progress, silent
from fusion_bench.registry import build as built
from fusion_bench.taskpools.dense import DenseExamples, enlarged
from fusion_bench.taskpools.dense_prediction import DensePrediction
from fusion_bench.weights import write_state_dict
from fusion_bench.zoo.made import first_taskpool

RECIPE = "nyuv2_resnet50"


@dataclass(frozen=True)
class Training:
    """Adam, cosine to zero, pictures flipped half the time.

    Attributes:
        steps: of ``batch`` pictures.
        rate: of learning, at its highest.
    """

    steps: int = 8000
    batch: int = 8
    rate: float = 1e-4


def build(
    out: Path,
    *,
    pool: str = RECIPE,
    settings: Training | None = None,
    seed: int = 0,
    device: str | None = None,
    config_dir: Path | None = None,
    progress: Progress = silent,
) -> None:
    """Train the experts that a model pool of type ``dense_resnet`` names, one a task of the first task pool it fits.

    Args:
        out: gets a folder a task, with ``model.safetensors``; those that are there are kept.
        pool: of which the base and the encoder are taken.
        device: None: CUDA where there is one.

    Raises:
        FusionBenchError: another type of pool, a base or data that is not here.
    """
    settings = settings or Training()
    models = built("modelpool", pool, config_dir=config_dir)
    if not isinstance(models, DenseResnet):
        raise FusionBenchError(f"model pool {pool!r} is no dense_resnet", hint=f"the recipe makes {RECIPE}")
    tasks = built("taskpool", first_taskpool(pool, config_dir), config_dir=config_dir)
    if not isinstance(tasks, DensePrediction):
        raise FusionBenchError(f"task pool {tasks.name!r} is no dense_prediction", hint="name one first in taskpools")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for task in tasks.tasks:
        if (out / task / "model.safetensors").is_file():
            continue
        examples = tasks.examples(task, models)
        torch.manual_seed(seed)  # a head is drawn
        encoder, head = train(
            models.model(BASE), models.fresh_head(examples.channels), examples, settings, seed, device=device,
            progress=progress,
        )  # fmt: skip
        state = {f"encoder.{name}": tensor.cpu() for name, tensor in encoder.state_dict().items()}
        state |= {f"decoders.{task}.{name}": tensor.cpu() for name, tensor in head.state_dict().items()}
        (out / task).mkdir(parents=True, exist_ok=True)
        write_state_dict(out / task / "model.safetensors", state, metadata={"format": "pt"})


def train(
    base: nn.Module,
    head: nn.Module,
    examples: DenseExamples,
    settings: Training,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[nn.Module, nn.Module]:
    """An encoder that starts as ``base``, which is not written to, and ``head``, trained on a task's training split."""
    encoder = copy.deepcopy(base).train().requires_grad_(True).to(device)
    head = head.train().requires_grad_(True).to(device)
    images, truth = _in_memory(examples)
    weights = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(weights, lr=settings.rate)
    loss_of = LOSSES[examples.config.kind]
    for step in range(settings.steps):
        rng = np.random.default_rng([seed, step])
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        rows = torch.from_numpy(rng.integers(len(images), size=settings.batch))
        pictures, true = images[rows], truth[rows]
        if rng.random() < 0.5:
            pictures, true = mirrored(pictures, true, kind=examples.config.kind)
        true = true.to(device)
        maps = enlarged(head(encoder(pictures.to(device))), true)
        loss = loss_of(maps, true, examples.config.ignored)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        progress(f"train {examples.task}", step + 1, settings.steps)
    return encoder.eval(), head.eval()


def mirrored(images: Tensor, truth: Tensor, *, kind: str) -> tuple[Tensor, Tensor]:
    """Pictures and what is true of them, left and right exchanged: a normal then points to the other side.

    Args:
        images: ``(b, 3, h, w)``.
        truth: ``(b, h, w)`` or ``(b, channels, h, w)``.
        kind: of the task.

    Example:
        >>> normals = torch.tensor([[[[1.0, 0]], [[0, 1]], [[0, 0]]]])
        >>> mirrored(torch.zeros(1, 3, 1, 2), normals, kind="normal")[1].tolist()
        [[[[0.0, -1.0]], [[1.0, 0.0]], [[0.0, 0.0]]]]
    """
    truth = truth.flip(-1)
    if kind == "normal":
        truth = truth * torch.tensor([-1.0, 1.0, 1.0], dtype=truth.dtype).view(1, 3, 1, 1) + 0.0
    return images.flip(-1), truth


def _in_memory(examples: DenseExamples) -> tuple[Tensor, Tensor]:
    """The whole training split: steps draw from all of it."""
    batches = [cast("Mapping[str, Tensor]", batch) for batch in examples.examples("train")]
    return torch.cat([batch["images"] for batch in batches]), torch.cat([batch["truth"] for batch in batches])


def _cross_entropy(maps: Tensor, truth: Tensor, ignored: int) -> Tensor:
    return F.cross_entropy(maps, truth.long(), ignore_index=ignored)


def _absolute(maps: Tensor, truth: Tensor, _: int) -> Tensor:
    truth = truth.reshape(maps.shape)
    known = truth > 0
    return (maps - truth).abs()[known].mean()


def _cosine(maps: Tensor, truth: Tensor, _: int) -> Tensor:
    known = (truth != 0).any(dim=1)
    return (1 - F.cosine_similarity(maps, truth, dim=1))[known].mean()


LOSSES: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "segmentation": _cross_entropy,
    "depth": _absolute,
    "normal": _cosine,
}
"""Means over labelled pixels, by the kind of a task: cross-entropy, absolute error, 1 − cosine."""
