"""A pool and tasks so small that a real case runs in under a second, in exactly the layout of the embedded ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import yaml

from fusion_bench.models.clip import build_clip
from fusion_bench.weights import write_state_dict
from fusion_bench.zoo.package import write_manifest, write_split
from fusion_bench.zoo.pictures import Pictures

CLASSES = {"circles": ("small", "large", "none"), "stripes": ("red", "blue")}
CONFIG = {
    "name": "toy",
    "architecture": {
        "embed_dim": 8,
        "vision_cfg": {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8], "kernel_size": 3, "patch_size": 2},
        "text_cfg": {"context_length": 6, "vocab_size": 12, "width": 16, "heads": 2, "layers": 1},
    },
    "image_size": 32,
    "mean": [0.3, 0.3, 0.3],
    "std": [0.4, 0.4, 0.4],
}
WORDS = ("a", "blue", "is", "large", "none", "of", "picture", "red", "small")


def write_toy_assets(
    folder: Path, *, tasks: tuple[str, ...] = ("circles", "stripes"), n: int = 24, seed: int = 0
) -> Path:
    """Write ``folder/models_toy`` and ``folder/tasks_toy``; returns ``folder``."""
    _write_models(folder / "models_toy", tasks, seed)
    for number, task in enumerate(tasks):
        rng = np.random.default_rng([seed, number])
        for split in ("train", "validation", "adaptation", "test"):
            write_split(
                folder / "tasks_toy" / task / f"{split}.parquet", pictures(task, n, rng), labelled=split != "adaptation"
            )
        record = {"name": task, "title": task, "classes": CLASSES[task], "templates": ["a picture of {}", "{}"]}
        (folder / "tasks_toy" / task / "task.json").write_text(json.dumps(record))
    write_manifest(folder / "tasks_toy", name="toy2")
    return folder


def _write_models(folder: Path, tasks: tuple[str, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = build_clip(CONFIG).state_dict()
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(CONFIG))
    (folder / "vocabulary.txt").write_text("\n".join(WORDS) + "\n")
    write_state_dict(folder / "models" / "base.safetensors", base, dtype=torch.float16)
    for name in (*tasks, "multitask"):
        tower = {
            key: value + 0.3 * torch.randn(value.shape, generator=generator)
            for key, value in base.items()
            if key.startswith("visual.")
        }
        write_state_dict(folder / "models" / f"{name}.safetensors", tower, dtype=torch.float16)
    write_manifest(folder, name="toy")


def pictures(task: str, n: int, rng: np.random.Generator) -> Pictures:
    """Squares of noise with something of the label in them; the stripes are coloured, the circles grey."""
    classes = CLASSES[task]
    labels = np.arange(n) % len(classes)
    images = np.repeat(rng.integers(0, 60, size=(n, 32, 32, 1)), 3, axis=3)
    for image, label in zip(images, labels, strict=True):
        if task == "stripes":
            image[:, ::2, 0 if label == 0 else 2] = 220
        elif label < 2:
            image[4 : 12 + 8 * label, 4 : 12 + 8 * label] = 200
    return Pictures(images.astype(np.uint8), labels, np.array([f"g{i}" for i in range(n)]), classes)


def write_toy_configs(folder: Path, assets: Path) -> Path:
    """``modelpool/toy.yaml`` and ``taskpool/toy2.yaml`` for the assets; returns the folder for ``--config-path``."""
    content = {
        "modelpool/toy.yaml": {
            "type": "embedded_clip",
            "path": str(assets / "models_toy"),
            "taskpools": ["toy2"],
            "provides": ["multitask"],
        },
        "taskpool/toy2.yaml": {
            "type": "zero_shot_classification",
            "path": str(assets / "tasks_toy"),
            "tasks": ["circles", "stripes"],
        },
    }
    for name, body in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(body))
    return folder
