"""Writing the pools: Parquet with embedded PNGs, half-precision safetensors, manifests with SHA-256 sums."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.tasks import TaskRecipe

SHIPPED_SPLITS = ("train", "validation", "adaptation", "test")


def png_bytes(image: np.ndarray) -> bytes:
    """A picture as PNG: one channel where the three agree.

    Example:
        >>> Image.open(io.BytesIO(png_bytes(np.zeros((32, 32, 3), np.uint8)))).mode
        'L'
    """
    grey = bool((image[..., :1] == image).all())
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if grey else image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_split(path: Path, pictures: Pictures, *, labelled: bool) -> None:
    """One split as Parquet that Hugging Face ``datasets`` reads: image, label (unless unlabelled), cluster."""
    import pyarrow.parquet as pq
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageFeature

    columns: dict[str, Any] = {"image": [{"bytes": png_bytes(image), "path": None} for image in pictures.images]}
    features: dict[str, Any] = {"image": ImageFeature()}
    if labelled:
        columns["label"] = pictures.labels.tolist()
        features["label"] = ClassLabel(names=list(pictures.classes))
    columns["cluster"] = pictures.groups.tolist()
    features["cluster"] = Value("string")
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset.from_dict(columns, features=Features(features))
    table = data.with_format("arrow")[:].replace_schema_metadata(data.features.arrow_schema.metadata)
    pq.write_table(table, path, compression="zstd")


def write_task(folder: Path, task: TaskRecipe, splits: Mapping[str, Pictures], *, training: int, seed: int) -> None:
    """``task.json`` and the splits; of the training split, the first ``training`` pictures of a seeded order."""
    for name in SHIPPED_SPLITS:
        part = splits[name]
        if name == "train" and len(part) > training:
            part = part.take(np.sort(np.random.default_rng(seed).permutation(len(part))[:training]))
        write_split(folder / f"{name}.parquet", part, labelled=name != "adaptation")
    record = {
        "name": task.name,
        "title": task.title,
        "classes": list(splits["test"].classes),
        "templates": list(task.templates),
        "cluster": task.cluster,
        "licence": task.licence,
        "source": task.source,
        "pictures": {name: len(splits[name]) for name in SHIPPED_SPLITS},
    }
    (folder / "task.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Floating tensors in half precision, names sorted."""
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    half = {
        k: (v.half() if v.is_floating_point() else v).contiguous().clone(memory_format=torch.contiguous_format)
        for k, v in sorted(state.items())
    }
    save_file(half, path, metadata={"format": "pt"})


def write_manifest(folder: Path, **about: Any) -> None:
    """``manifest.json`` with size and SHA-256 sum of every file below ``folder``."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"):
        data = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    text = json.dumps({"schema": 1, **about, "files": files}, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n")
