"""Characters drawn from font files, light on black, scaled to the picture."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fusion_bench.zoo.pictures import SIZE

_DRAWN = 64  # drawn twice as large and shrunk: smoother than hinting at 32 pixels


class Face:
    """One font file: its family, the characters it has, and a pen."""

    def __init__(self, path: Path) -> None:
        from fontTools.ttLib import TTFont

        logging.getLogger("fontTools").setLevel(logging.ERROR)
        self.path = path
        font = TTFont(path, fontNumber=0, lazy=True)
        names = font["name"]
        family = names.getDebugName(16) or names.getDebugName(1) or path.stem
        self.family = family.strip().lower()
        self.characters = frozenset(font.getBestCmap() or ())
        font.close()
        self._pen = ImageFont.truetype(str(path), _DRAWN, index=0)

    def draw(self, text: str) -> np.ndarray | None:
        """``text`` as uint8 ``(32, 32)``: longest side 28 pixels, centred. None where the glyph is blank."""
        left, top, right, bottom = self._pen.getbbox(text)
        width, height = int(right - left), int(bottom - top)
        if width < 2 or height < 2 or max(width, height) > 8 * _DRAWN:
            return None
        canvas = Image.new("L", (width + 4, height + 4))
        ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=self._pen, fill=255)
        box = canvas.getbbox()
        if box is None:
            return None
        canvas = canvas.crop(box)
        scale = (SIZE - 4) / max(canvas.size)
        size = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
        small = canvas.resize(size, Image.Resampling.LANCZOS)
        picture = Image.new("L", (SIZE, SIZE))
        picture.paste(small, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
        return np.asarray(picture)


def faces(paths: Iterable[Path]) -> list[Face]:
    """The faces that open, one per (family, file stem); a broken or bitmap-only file is left out."""
    found: dict[tuple[str, str], Face] = {}
    for path in paths:
        try:
            face = Face(path)
        except (OSError, KeyError, ValueError, AttributeError, TypeError, AssertionError):
            continue  # not an outline font that FreeType and fontTools both read
        found.setdefault((face.family, path.stem.lower()), face)
    return list(found.values())


def upright(paths: Sequence[Path]) -> list[Path]:
    """Without italics and the many in-between weights, which only repeat a family."""
    skip = ("italic", "oblique", "slanted", "condensed", "semi", "extra", "ultra", "hair", "retina", "-it.", "display")
    return [path for path in paths if not any(word in path.name.lower() for word in skip)]
