"""Stage one: the image tower learns to name what it sees, on every core, resumable at any checkpoint.

Each domain is one softmax over its concepts, ``softmax(s * cos(f(x), w_c))``; a caption of several words is a uniform
target over them. The schedule is warm-up, plateau, decay, so that a longer run continues a shorter one's plateau.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.progress import Progress, silent
from fusion_bench.zoo.augment import augment
from fusion_bench.zoo.concepts import MIXTURE, Concepts

COLOURED = frozenset({"icon"})


@dataclass(frozen=True)
class Schedule:
    """``steps`` in all; the last ``decay`` share of them lowers the rate to 2 % of ``rate``."""

    steps: int
    batch: int = 96
    rate: float = 2e-3
    warmup: int = 300
    decay: float = 0.25
    weight_decay: float = 0.05

    def at(self, step: int) -> float:
        """Learning rate at ``step``.

        Example:
            >>> round(Schedule(steps=1000, rate=1.0, warmup=100).at(49), 3), Schedule(1000, rate=1.0).at(500)
            (0.5, 1.0)
        """
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup), max(0.02, left))


class Namer(nn.Module):
    """The tower, one direction per concept, and the temperature of each softmax."""

    def __init__(self, tower: nn.Module, width: int, count: int) -> None:
        super().__init__()
        self.tower = tower
        self.table = nn.Parameter(torch.randn(count, width) * width**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.tower(images), dim=-1)

    def logits(self, features: Tensor, start: int, stop: int) -> Tensor:
        return self.log_scale.exp().clamp(max=60) * features @ F.normalize(self.table[start:stop], dim=-1).T


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy against a uniform target over the columns named in ``targets`` (-1: none)."""
    given = targets >= 0
    log_p = logits.log_softmax(-1).gather(1, targets.clamp(min=0))
    return -((log_p * given).sum(1) / given.sum(1).clamp(min=1)).sum()


def draw_batch(concepts: Concepts, batch: int, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Rows of each domain for one step; the share of the tasks goes to one task a step."""
    drawn = []
    tasks = [name for name in concepts.rows if name.startswith("task:")]
    for name, share in MIXTURE.items():
        domain = tasks[int(rng.integers(len(tasks)))] if name == "tasks" else name
        rows = concepts.rows[domain]
        drawn.append((domain, rows[rng.integers(len(rows), size=max(1, round(share * batch)))]))
    return drawn


def to_input(images: np.ndarray) -> Tensor:
    """uint8 ``(n, h, w, 3)`` to float ``(n, 3, h, w)`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def step_loss(
    model: Namer,
    concepts: Concepts,
    drawn: list[tuple[str, np.ndarray]],
    mean: float,
    std: float,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    rows = np.concatenate([part for _, part in drawn])
    coloured = torch.cat([torch.full((len(part),), domain in COLOURED) for domain, part in drawn])
    views = (augment(to_input(concepts.images[rows]), generator, colour=coloured) - mean) / std
    features = model(views.contiguous(memory_format=torch.channels_last))
    total, parts, start = features.new_zeros(()), {}, 0
    for domain, part in drawn:
        first = concepts.offsets[domain]
        logits = model.logits(features[start : start + len(part)], first, first + len(concepts.columns[domain]))
        loss = soft_cross_entropy(logits, torch.from_numpy(concepts.targets[part]))
        parts[domain.split(":")[0]] = float(loss.detach()) / len(part)
        total, start = total + loss, start + len(part)
    return total / len(rows), parts


def pretrain(
    rank: int,
    workers: int,
    tower: nn.Module,
    width: int,
    concepts: Concepts,
    schedule: Schedule,
    seed: int,
    folder: Path,
    pixels: tuple[float, float],
    progress: Progress = silent,
    validation: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> None:
    """One worker's part; worker 0 writes ``folder/checkpoint.pt`` (model, optimiser, step) and ``log.jsonl``."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    count = sum(len(names) for names in concepts.columns.values())
    model = Namer(tower, width, count).to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, 0.98), fused=True)
    first, checkpoint = 0, folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first = int(saved["step"])
    began = time.monotonic()
    smooth: dict[str, float] = {}
    for step in range(first, schedule.steps):
        rng = np.random.default_rng([seed, step, rank])  # keyed, so that a resumed run draws the same batches
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in optimiser.param_groups:
            group["lr"] = schedule.at(step)
        optimiser.zero_grad(set_to_none=True)
        loss, parts = step_loss(model, concepts, draw_batch(concepts, schedule.batch, rng), *pixels, generator)
        loss.backward()
        if workers > 1:
            _average_gradients(model, workers)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if rank == 0:
            smooth = {k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in {**smooth, **parts}.items()}
            progress("pretrain", step + 1, schedule.steps)
            if (step + 1) % 250 == 0 or step + 1 == schedule.steps:
                _save(checkpoint, model, optimiser, step + 1)
                record: dict[str, Any] = {
                    "step": step + 1,
                    "seconds": round(time.monotonic() - began),
                    "loss": {k: round(v, 3) for k, v in smooth.items()},
                }
                if validation is not None and (step + 1) % 1000 == 0:
                    record["zero_shot"] = _zero_shot(model, concepts, validation, pixels)
                with (folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(record) + "\n")


def _average_gradients(model: nn.Module, workers: int) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view(gradient.shape))
        start += gradient.numel()


def _save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, temporary)
    temporary.replace(path)


@torch.inference_mode()
def _zero_shot(
    model: Namer,
    concepts: Concepts,
    validation: Mapping[str, tuple[np.ndarray, np.ndarray]],
    pixels: tuple[float, float],
) -> dict[str, float]:
    """Accuracy on the validation splits with the directions learnt from the few captioned pictures of each task."""
    found = {}
    for task, (images, labels) in validation.items():
        features = model(((to_input(images) - pixels[0]) / pixels[1]).contiguous(memory_format=torch.channels_last))
        first = concepts.offsets[f"task:{task}"]
        logits = model.logits(features, first, first + len(concepts.columns[f"task:{task}"]))
        found[task] = round(float((logits.argmax(1).numpy() == labels).mean()), 3)
    return found
