"""Planted scenes with a class, a depth and a normal of every pixel, and small dilated ResNets, stored as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

SIZE = (32, 48)
COLOURS = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], dtype=np.float32)
NORMALS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=np.float32)
ENCODER = {"layers": [1, 1, 1, 1], "width_per_group": 4}
TASKS = ("segmentation", "depth", "normal")
CHANNELS = {"segmentation": 3, "depth": 1, "normal": 3}


def scenes(count: int, seed: int) -> dict[str, np.ndarray]:
    """Each of two or three walls, whose colour is their class, brightness their depth; some pixels have no label."""
    rng, (height, width) = np.random.default_rng(seed), SIZE
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("image", *TASKS)}
    for _ in range(count):
        cut = np.sort(rng.integers(8, width - 8, 2))
        of = np.searchsorted(cut, np.arange(width), side="right")[None, :].repeat(height, 0)
        label = rng.permutation(3)[of]
        metres = rng.uniform(0.5, 4.0, 3)[of] + np.linspace(0, 0.5, height)[:, None]
        pixels = COLOURS[label] * (1 - metres[..., None] / 8) + rng.normal(0, 0.01, (height, width, 3))
        void = rng.random((height, width)) < 0.05
        normal = NORMALS[label]
        found["image"].append(pixels.transpose(2, 0, 1).clip(0, 1).astype(np.float32))
        found["segmentation"].append(np.where(void, -1, label).astype(np.int64))
        found["depth"].append(np.where(void, 0, metres)[None].astype(np.float32))
        found["normal"].append(np.where(void[..., None], 0, normal).transpose(2, 0, 1).astype(np.float32))
    return {name: np.stack(arrays) for name, arrays in found.items()}


def features() -> Any:
    """The schema of ``tanganke/nyuv2``, in this size."""
    from datasets import Array2D, Array3D, Features

    return Features(
        image=Array3D(shape=(3, *SIZE), dtype="float32"),
        segmentation=Array2D(shape=SIZE, dtype="int64"),
        depth=Array3D(shape=(1, *SIZE), dtype="float32"),
        normal=Array3D(shape=(3, *SIZE), dtype="float32"),
    )


def write_scenes(folder: Path, sizes: dict[str, int], *, shards: int = 2) -> dict[str, dict[str, np.ndarray]]:
    """A data set of the hub, ``data/<split>-00000-of-00002.parquet`` and its card; returns what is in it."""
    from datasets import Dataset

    (folder / "data").mkdir(parents=True)
    written = {}
    for place, (split, size) in enumerate(sizes.items()):
        written[split] = scenes(size, seed=place)
        for shard in range(shards):
            rows = slice(size * shard // shards, size * (shard + 1) // shards)
            part = {name: list(array[rows]) for name, array in written[split].items()}
            path = folder / "data" / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
            Dataset.from_dict(part, features=features()).to_parquet(path)
    files = [{"split": split, "path": f"data/{split}-*"} for split in sizes]
    head = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{head}---\n")
    return written


def encoder(seed: int) -> nn.Module:
    """A random dilated ResNet of torchvision's, with statistics that are no defaults."""
    from torchvision.models.resnet import Bottleneck, ResNet

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = ResNet(Bottleneck, replace_stride_with_dilation=[False, True, True], **ENCODER)
        return _settled(found)


def head(channels: int, seed: int) -> nn.Module:
    """A random DeepLab head that says something else of every pixel, and something sensible of some."""
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = _settled(DeepLabHead(2048, channels, (12, 24, 36)))
    with torch.inference_mode():
        said = found(maps_of(encoder(seed), torch.from_numpy(scenes(4, seed=99)["image"])))
    mean, std = said.mean(dim=(0, 2, 3)), said.std(dim=(0, 2, 3))
    scale, centre = {1: (0.8, [2.5]), 3: (0.5, [0.0, 0.1, 1.0])}.get(channels, (1.0, [0.0] * channels))
    found[4].weight.mul_((scale / std).view(-1, 1, 1, 1))
    found[4].bias.sub_(mean).mul_(scale / std).add_(torch.tensor(centre))
    return found


def maps_of(body: Any, images: torch.Tensor) -> torch.Tensor:
    """What a ResNet of torchvision has before it pools."""
    found = body.maxpool(body.relu(body.bn1(body.conv1(images))))
    return body.layer4(body.layer3(body.layer2(body.layer1(found))))


def _settled(model: nn.Module) -> nn.Module:
    for name, buffer in model.named_buffers():
        if "running_mean" in name:
            buffer.uniform_(-0.1, 0.1)
        elif "running_var" in name:
            buffer.uniform_(0.5, 2.0)
        else:
            buffer.fill_(7)
    return model.eval().requires_grad_(False)


def write_models(root: Path) -> dict[str, tuple[nn.Module, nn.Module]]:
    """``base`` as timm has it on the hub, and an expert a task as Lightning's checkpoint or as safetensors."""
    from safetensors.torch import save_file

    made = {}
    (root / "base").mkdir(parents=True)
    save_file(encoder(0).state_dict(), root / "base" / "model.safetensors")
    (root / "base" / "config.json").write_text('{"architecture": "resnet50"}')
    for seed, task in enumerate(TASKS, 1):
        body, top = encoder(seed), head(CHANNELS[task], seed)
        own = {name: tensor for name, tensor in body.state_dict().items() if not name.startswith("fc.")}
        state = {f"encoder.{name}": tensor for name, tensor in own.items()}
        state |= {f"decoders.{task}.{name}": tensor for name, tensor in top.state_dict().items()}
        (root / task).mkdir()
        if task == "depth":
            save_file(state, root / task / "model.safetensors")
        else:
            left = {
                "epoch": 3,
                "global_step": 9,
                "pytorch-lightning_version": "2.4.0",
                "loops": {},
                "lr_schedulers": [],
            }
            torch.save({**left, "state_dict": state}, root / task / "last.ckpt")
        made[task] = (body, top)
    return made
