"""What ``preprocessor_config.json`` of transformers does to a picture, in this package's terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.datasets.sizing import Resample, Sizing
from fusion_bench.errors import FusionBenchError

FILE = "preprocessor_config.json"
_RESAMPLE: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_UNCUT = 384  # pixels from which the processor of ConvNeXt and ResNet cuts nothing off


@dataclass(frozen=True)
class Processor:
    """How pictures get their size, and how their pixels, of 0 to 1, are standardised."""

    sizing: Sizing
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_processor(folder: Path, *, label: str) -> Processor:
    """The processor saved beside a model.

    Args:
        folder: with ``preprocessor_config.json``, as any version of transformers wrote it.
        label: how messages call the model.

    Raises:
        FusionBenchError: no such file, one that transformers cannot read, or one that makes no squares of one size.
    """
    from transformers import AutoImageProcessor

    if not (folder / FILE).is_file():
        raise FusionBenchError(f"{label} has no {FILE}", hint=f"save the model's image processor in {folder}")
    try:
        said = AutoImageProcessor.from_pretrained(folder, local_files_only=True).to_dict()
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FusionBenchError(f"cannot read {folder / FILE}: {reason}") from error
    channels = 3
    plain = said.get("do_normalize", True)
    return Processor(
        sizing_of(said, label=label),
        tuple(map(float, said["image_mean"])) if plain else (0.0,) * channels,
        tuple(map(float, said["image_std"])) if plain else (1.0,) * channels,
    )


def sizing_of(said: dict[str, Any], *, label: str) -> Sizing:
    """How a processor's fields resize and cut a picture.

    Example:
        >>> fields = {"do_resize": True, "size": {"shortest_edge": 224}, "resample": 3}
        >>> sizing_of({**fields, "crop_pct": 0.875}, label="a ConvNeXt")
        Sizing(side=224, shorter=256, resample='bicubic', warped=False)
        >>> sizing_of({**fields, "size": {"height": 224, "width": 224}}, label="a ViT").warped
        True
    """
    size, crop = said.get("size") or {}, said.get("crop_size") or {}
    short, square = size.get("shortest_edge"), _side(size)
    resample = _RESAMPLE.get(int(said.get("resample", 3)))
    scaled = abs(float(said.get("rescale_factor", 1 / 255)) * 255 - 1) < 1e-6 and said.get("do_rescale", True)
    if said.get("do_resize", True) and resample is not None and scaled:
        if short is not None and said.get("crop_pct"):
            if short >= _UNCUT:
                return Sizing(short, resample=resample, warped=True)
            return Sizing(short, shorter=int(short / said["crop_pct"]), resample=resample)
        if said.get("do_center_crop"):
            side = _side(crop)
            if side is not None and short is not None and short >= side:
                return Sizing(side, shorter=short, resample=resample)
            if side is not None and side == square:
                return Sizing(side, resample=resample, warped=True)
        elif square is not None:
            return Sizing(square, resample=resample, warped=True)
    raise FusionBenchError(
        f"{FILE} of {label} makes no squares of one size out of pictures by resizing and a centre crop: {said}",
        hint="give it do_resize, size and do_center_crop, crop_size as the model was trained with",
    )


def _side(size: dict[str, Any]) -> int | None:
    height, width = size.get("height"), size.get("width")
    return int(height) if height is not None and height == width else None
