"""The stages that train: the pretrained tower on every core, then experts and the joint model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from fusion_bench.progress import Progress
from fusion_bench.zoo.concepts import Concepts
from fusion_bench.zoo.pretrain import pretrain
from fusion_bench.zoo.recipe import PIXELS, Recipe, Tower


def build_tower(tower: Tower) -> nn.Module:
    """The image tower, as `fusion_bench.models` builds it from the pool's ``model.json``."""
    from fusion_bench.models.clip import build_image_tower

    return build_image_tower(tower.vision_cfg(), tower.embed_dim)


def run_pretraining(
    folder: Path,
    recipe: Recipe,
    concepts: Concepts,
    validation: Mapping[str, tuple[np.ndarray, np.ndarray]],
    progress: Progress,
) -> Path:
    """Train until ``recipe.pretraining.steps``; resumes from ``folder/checkpoint.pt``."""
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.workers == 1:
        _worker(0, 1, "", recipe, concepts, validation, folder, progress)
    else:
        with tempfile.TemporaryDirectory() as meeting:
            arguments = (recipe.workers, f"file://{meeting}/store", recipe, concepts, validation, folder, None)
            mp.start_processes(_worker, arguments, nprocs=recipe.workers, start_method="fork")
    return folder / "checkpoint.pt"


def _worker(
    rank: int,
    workers: int,
    store: str,
    recipe: Recipe,
    concepts: Concepts,
    validation: Mapping[str, tuple[np.ndarray, np.ndarray]],
    folder: Path,
    progress: Progress | None,
) -> None:
    torch.set_num_threads(1)
    if workers > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=workers)
    if progress is None:
        progress = _bar()
    torch.manual_seed(recipe.seed)
    tower = build_tower(recipe.tower)
    pretrain(
        rank,
        workers,
        tower,
        recipe.tower.embed_dim,
        concepts,
        recipe.pretraining,
        recipe.seed,
        folder,
        PIXELS,
        progress,
        validation,
    )
    if workers > 1:
        dist.destroy_process_group()


def _bar() -> Progress:
    from fusion_bench.zoo.bars import bars

    return bars()
