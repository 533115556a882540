"""The pretraining corpus: pictures with captions, in domains none of which is one of the tasks.

A domain is a set of captions that compete with each other: the columns of one softmax during pretraining.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from fusion_bench.zoo import icons
from fusion_bench.zoo.glyphs import Face, faces
from fusion_bench.zoo.pictures import SIZE
from fusion_bench.zoo.readers import INITIALS, SCRIPTS, chinese_faces, noto_faces, radicals_of, reserved
from fusion_bench.zoo.sources import ICON_SETS, Sources
from fusion_bench.zoo.splits import NEAR_DUPLICATE, nearest_correlation

_VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
#: The parts the corpus is built from, each a stage of its own.
PARTS = ("icon", "clipart", "glyph", "chinese", "hangul", "latin")
_TENSE = {1: "gg", 4: "dd", 8: "bb", 10: "ss", 13: "jj"}


@dataclass(frozen=True)
class Corpus:
    """``images`` uint8 ``(n, 32, 32, 3)`` with one caption and one domain each."""

    images: np.ndarray
    captions: np.ndarray
    domains: np.ndarray

    def save(self, path: Path | BinaryIO) -> None:
        np.savez_compressed(path, images=self.images, captions=self.captions, domains=self.domains)

    @classmethod
    def load(cls, path: Path) -> Corpus:
        with np.load(path) as file:
            return cls(file["images"], file["captions"], file["domains"])

    def take(self, index: np.ndarray) -> Corpus:
        return Corpus(self.images[index], self.captions[index], self.domains[index])


class _Collector:
    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.captions: list[str] = []
        self.domains: list[str] = []

    def add(self, image: np.ndarray | None, caption: str, domain: str) -> None:
        if image is None or not caption:
            return
        self.images.append(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)
        self.captions.append(caption)
        self.domains.append(domain)


def build_part(name: str, sources: Sources, latin: list[Face], seed: int) -> Corpus:
    """One part of the corpus. ``latin``: the faces of the training families of the task ``letters``, no others."""
    out = _Collector()
    rng = np.random.default_rng([seed, PARTS.index(name)])
    if name == "latin":
        _latin(latin, out, rng)
    else:
        {"icon": _icons, "clipart": _clip_art, "glyph": _scripts, "chinese": _chinese, "hangul": _hangul}[name](
            sources, out, rng
        )
    return Corpus(np.stack(out.images), np.array(out.captions), np.array(out.domains))


def joined(parts: Sequence[Corpus], held_out: np.ndarray) -> tuple[Corpus, int]:
    """All parts in one, without pictures that nearly repeat one of ``held_out``; and how many those were."""
    whole = Corpus(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("images", "captions", "domains")))
    fresh = nearest_correlation(whole.images, held_out) <= NEAR_DUPLICATE
    return whole.take(np.flatnonzero(fresh)), int((~fresh).sum())


def _icons(sources: Sources, out: _Collector, rng: np.random.Generator) -> None:
    for name in ICON_SETS:
        folder = sources.icon_set(name)
        seen: Counter[str] = Counter()
        for icon in icons.load_set(folder):
            caption = " ".join(icons.words_of(icon[0]))
            seen[caption] += 1
            if caption and seen[caption] <= 2 and not reserved(caption):  # at most two drawings of a thing by one hand
                out.add(icons.render(folder, *icon), caption, "icon")


def _clip_art(sources: Sources, out: _Collector, rng: np.random.Generator) -> None:
    """Public-domain drawings; caption = folder and the words of the file name."""
    root = sources.debian / "usr/share/openclipart/png"
    for path in sorted(root.rglob("*.png")):
        words = [w for w in re.split(r"[^a-z]+", path.stem.lower()) if len(w) > 2]
        caption = " ".join([path.relative_to(root).parts[0].replace("_", " "), *words][:6])
        try:
            file = Image.open(path)
            if min(file.size) < 16 or file.width * file.height > 16_000_000:
                continue
            image = file.convert("RGBA")
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
        canvas = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 255))
        canvas.alpha_composite(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
        pixels = np.asarray(canvas.convert("RGB"))
        if pixels.std() > 8:
            out.add(pixels, caption, "clipart")


def _scripts(sources: Sources, out: _Collector, rng: np.random.Generator) -> None:
    """Letters and symbols of the writing systems that are in no task, with their Unicode names."""
    taken = [range(first, last + 1) for first, last in SCRIPTS.values()]
    apart = re.compile(
        r"^(LATIN|CJK|HANGUL|YI |ETHIOPIC|ARABIC|GREEK|CYRILLIC|KANGXI|TANGUT|CANADIAN|MYANMAR|DEVANAGARI|ARMENIAN"
        r"|GEORGIAN|CHEROKEE|KHMER|TAMIL|TIBETAN|VARIATION)"
    )
    count: Counter[int] = Counter()
    for face in noto_faces(sources):
        for code in sorted(face.characters):
            name = unicodedata.name(chr(code), "")
            if apart.match(name) or not name or any(code in block for block in taken) or count[code] >= 4:
                continue
            if unicodedata.category(chr(code))[0] in "LNSP":
                count[code] += 1
                out.add(face.draw(chr(code)), " ".join(name.lower().replace("-", " ").split()[:5]), "glyph")


def _chinese(sources: Sources, out: _Collector, rng: np.random.Generator) -> None:
    """Characters under the radicals that are in no task; caption = the number of the radical; and kana by name."""
    by_code = radicals_of(sources)
    frequent = [r for r, _ in Counter(by_code.values()).most_common()]
    pens = chinese_faces(sources)
    rare = set(frequent[28:])  # the 28 most frequent contain every class of the task
    for code, radical in sorted(by_code.items()):
        if radical in rare:
            able = [pen for pen in pens if code in pen.characters]
            for which in rng.permutation(len(able))[:2]:
                out.add(able[which].draw(chr(code)), f"chinese character number {radical}", "chinese")
    for code in [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB)]:
        for pen in pens:
            if code in pen.characters:
                out.add(pen.draw(chr(code)), " ".join(unicodedata.name(chr(code)).lower().split()), "kana")


def _hangul(sources: Sources, out: _Collector, rng: np.random.Generator) -> None:
    """Syllables with a tense initial (no class of the task); caption = initial and vowel."""
    pens = [f for package in ("fonts-nanum", "fonts-nanum-extra") for f in faces(sources.fonts_of(package))]
    for initial, sound in _TENSE.items():
        if initial in INITIALS:
            continue
        for offset in range(588):
            code = 0xAC00 + initial * 588 + offset
            able = [pen for pen in pens if code in pen.characters]
            for which in rng.permutation(len(able))[:3]:
                out.add(able[which].draw(chr(code)), f"hangul {sound} {_VOWELS[offset // 28]}", "hangul")


def _latin(latin: list[Face], out: _Collector, rng: np.random.Generator) -> None:
    """Greek, Cyrillic, figures and signs from the training typefaces of ``letters``; never a to z."""
    codes = [*range(0x21, 0x41), *range(0x5B, 0x60), *range(0x3B1, 0x3CA), *range(0x391, 0x3AA), *range(0x410, 0x450),
             *range(0xA1, 0xC0), 0xDF, 0xE6, 0xF8, 0xFE, 0x142, 0x153, 0x2026, 0x20AC, 0x2020, 0x2122]  # fmt: skip
    for face in latin:
        for code in codes:
            name = unicodedata.name(chr(code), "")
            if code in face.characters and name:
                words = name.lower().replace("latin small letter", "sign").split()
                out.add(
                    face.draw(chr(code)),
                    " ".join(w for w in words if w not in {"letter", "small", "capital"})[:60],
                    "latin",
                )
