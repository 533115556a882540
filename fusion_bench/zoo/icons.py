"""Icon collections: SVG bodies with names, rendered light on black (or in their own colours)."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from fusion_bench.zoo.pictures import SIZE

#: What a name carries besides the thing itself.
_STYLE_WORDS = frozenset(
    """
    outline outlined filled fill solid bold light thin duotone line linear broken twotone two tone sharp
    rounded round regular alt variant off on icon rtl ltr 12 16 20 24 28 32 48 skin dark medium type o
    negative a b
    """.split()
)


def words_of(name: str) -> list[str]:
    """The words of an icon's name that say what it shows.

    Example:
        >>> words_of("arrow-left-bold-24-filled")
        ['arrow', 'left']
    """
    parts = re.split(r"[^a-z0-9]+", name.lower())
    return [part for part in parts if len(part) > 1 and not part.isdigit() and part not in _STYLE_WORDS]


def render(folder: Path, name: str, body: str, width: float, height: float) -> np.ndarray | None:
    """One icon as uint8 ``(32, 32, 3)``; None where the renderer gives up on it or nothing is drawn."""
    import resvg_py

    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} '
        f'{height}" color="#fff">{body.replace("currentColor", "#fff")}</svg>'
    )
    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIZE, skip_system_fonts=True, background="#000000")
        image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    except (ValueError, OSError, RuntimeError):
        return None
    image.thumbnail((SIZE - 2, SIZE - 2), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (SIZE, SIZE))
    canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    pixels = np.asarray(canvas)
    return pixels if pixels.std() > 8 else None


def load_set(folder: Path) -> list[tuple[str, str, float, float]]:
    """``(name, body, width, height)`` of each icon of a collection, in name order, hidden ones left out."""
    data = json.loads((folder / "icons.json").read_text())
    width, height = data.get("width", 16), data.get("height", 16)
    return [
        (name, icon["body"], icon.get("width", width), icon.get("height", height))
        for name, icon in sorted(data["icons"].items())
        if not icon.get("hidden")
    ]
