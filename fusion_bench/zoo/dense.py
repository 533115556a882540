"""Experts of dense prediction: an encoder and a head trained together on one task, from the base of a model pool.

Nobody publishes such experts for NYUv2 with their heads; this makes the ones that ``nyuv2_resnet50`` names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.dense_resnet import DenseResnet
from fusion_bench.taskpools.dense import DenseExamples, enlarged
from fusion_bench.taskpools.dense_prediction import DensePrediction
from fusion_bench.weights import write_state_dict
from fusion_bench.zoo.made import How, Making, Training, descend

RECIPES: Mapping[str, Training] = {"nyuv2_resnet50": Training(steps=8000, batch=8, rate=1e-4)}
"""By Adam, pictures flipped half the time."""


def make(models: DenseResnet, examples: DenseExamples, folder: Path, how: How[Training]) -> None:
    """Train an expert of a task, encoder and head, and save it as ``model.safetensors``; see ``made.Making``."""
    encoder, head = train(models.model(BASE), models.fresh_head(examples.channels), examples, how)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state |= {f"decoders.{examples.task}.{name}": tensor for name, tensor in head.state_dict().items()}
    write_state_dict(folder / "model.safetensors", state, metadata={"format": "pt"})


MAKING = Making(DenseResnet, DensePrediction, make)


def train(base: nn.Module, head: nn.Module, examples: DenseExamples, how: How[Training]) -> tuple[nn.Module, nn.Module]:
    """An encoder that starts as ``base``, which is not written to, and ``head``, trained on a task's training split.

    Raises:
        FusionBenchError: no pixel of the split has a label, or a loss is not finite.
    """
    encoder = copy.deepcopy(base).train().requires_grad_(True).to(how.device)
    head = head.train().requires_grad_(True).to(how.device)
    images, truth = _in_memory(examples)
    kind, void = examples.config.kind, examples.config.void
    if not labelled(truth, kind=kind, void=void).any():
        raise FusionBenchError(
            f"training {examples.task!r}: no pixel of {examples.config.data} has a label",
            hint="look at what stands for no label in the card",
        )

    def loss_of(rng: np.random.Generator) -> Tensor | None:
        rows = torch.from_numpy(rng.integers(len(images), size=how.settings.batch))
        pictures, true = images[rows], truth[rows]
        if rng.random() < 0.5:
            pictures, true = mirrored(pictures, true, kind=kind)
        if not labelled(true, kind=kind, void=void).any():
            return None
        true = true.to(how.device)
        return loss(enlarged(head(encoder(pictures.to(how.device))), true), true, kind=kind, void=void)

    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=how.settings.rate)
    descend(optimiser, loss_of, how, task=examples.task)
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


def labelled(truth: Tensor, *, kind: str, void: int) -> Tensor:
    """Which pixels have a label, bool ``(b, h, w)``.

    Args:
        truth: ``(b, h, w)`` or ``(b, channels, h, w)``.
        void: the label of pixels without one, of a segmentation; a depth of 0 and a normal of zeros are none.

    Example:
        >>> labelled(torch.tensor([[[0, 255]]]), kind="segmentation", void=255).tolist()
        [[[True, False]]]
    """
    if kind == "segmentation":
        return truth != void
    if kind == "depth":
        return truth.reshape(len(truth), *truth.shape[-2:]) > 0
    return (truth != 0).any(dim=1)


def loss(maps: Tensor, truth: Tensor, *, kind: str, void: int) -> Tensor:
    """The mean over labelled pixels of cross-entropy, of absolute error, or of 1 − cosine; 0 where none has a label.

    Args:
        maps: of a model, float ``(b, channels, h, w)``.
        truth, kind, void: as for ``labelled``.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0]]]])
        >>> loss(maps, torch.tensor([[[[1.5, 0.0]]]]), kind="depth", void=-1).item()
        0.5
        >>> loss(maps, torch.zeros(1, 1, 1, 2), kind="depth", void=-1).item()
        0.0
    """
    errors = _ERRORS[kind](maps, truth, void)[labelled(truth, kind=kind, void=void)]
    return errors.sum() / max(1, len(errors))


def _cross_entropy(maps: Tensor, truth: Tensor, void: int) -> Tensor:
    return F.cross_entropy(maps, truth.long(), ignore_index=void, reduction="none")


def _absolute(maps: Tensor, truth: Tensor, _: int) -> Tensor:
    return (maps - truth.reshape(maps.shape)).abs().squeeze(1)


def _cosine(maps: Tensor, truth: Tensor, _: int) -> Tensor:
    return 1 - F.cosine_similarity(maps, truth, dim=1)


_ERRORS: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "segmentation": _cross_entropy,
    "depth": _absolute,
    "normal": _cosine,
}
"""Of each pixel, ``(b, h, w)``, by the kind of a task."""
