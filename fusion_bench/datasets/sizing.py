"""How pictures of any size become squares of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fusion_bench.errors import unknown_name

Resample = Literal["bicubic", "bilinear", "lanczos", "nearest"]


@dataclass(frozen=True)
class Sizing:
    """How a picture of any size becomes a square.

    Args:
        side: pixels of a side of the square.
        shorter: what the shorter side is resized to before the square is cut out of the middle; None: to ``side``.
        resample: how pixels are interpolated.
        warped: the whole picture is resized to the square, and nothing is cut off.

    Example:
        >>> Sizing(224).facts()
        {'size': 224, 'mode': 'RGB', 'resample': 'bicubic, shorter side, centre crop', 'version': 2}
        >>> Sizing(224, shorter=256, resample="bilinear").facts()["resample"]
        'bilinear, shorter side to 256, centre crop'
    """

    side: int
    shorter: int | None = None
    resample: Resample = "bicubic"
    warped: bool = False

    def __post_init__(self) -> None:
        if self.resample not in get_args(Resample):
            raise unknown_name("interpolation", self.resample, get_args(Resample))

    def facts(self) -> dict[str, Any]:
        """What is done to every picture: part of the name that the arrays are cached under."""
        to = "" if self.shorter in (None, self.side) else f" to {self.shorter}"
        how = "warped" if self.warped else f"shorter side{to}, centre crop"
        return {"size": self.side, "mode": "RGB", "resample": f"{self.resample}, {how}", "version": 2}


def preprocess(picture: Any, sizing: Sizing | int) -> np.ndarray:
    """A PIL picture as uint8 ``(3, side, side)``: RGB, the shorter side resized, a square cut out of the middle.

    The longer side is rounded down, as transformers' processors do.

    Args:
        sizing: how; a number is `Sizing` of that many pixels.

    Example:
        >>> from PIL import Image
        >>> preprocess(Image.new("L", (40, 20), 7), 10).shape
        (3, 10, 10)
    """
    from PIL import Image

    sizing = Sizing(sizing) if isinstance(sizing, int) else sizing
    side, short = sizing.side, sizing.shorter or sizing.side
    method = Image.Resampling[sizing.resample.upper()]
    picture = picture.convert("RGB")
    if sizing.warped:
        picture = picture.resize((side, side), method)
    elif picture.size != (short, short):
        now = min(picture.size)
        picture = picture.resize((picture.width * short // now, picture.height * short // now), method)
    if picture.size != (side, side):
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture).transpose(2, 0, 1)
