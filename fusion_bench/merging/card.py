"""The model card that is written beside a merged checkpoint."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fusion_bench import __version__
from fusion_bench.datasets.digests import Digest
from fusion_bench.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Input:
    """One input as the card tells of it: role, where it was, files (name, bytes, digest or None), licence."""

    role: str
    label: str
    files: tuple[tuple[str, int, str | None], ...]
    licence: str | None


def described(role: str, checkpoint: Checkpoint, hashes: Mapping[Path, str]) -> Input:
    """What the card says of a checkpoint."""
    files = tuple((path.name, path.stat().st_size, hashes.get(path)) for path in checkpoint.files)
    return Input(role, checkpoint.label, files, licence_of(checkpoint))


def licence_of(checkpoint: Checkpoint) -> str | None:
    """The field ``license`` of the card beside a checkpoint, where there is one."""
    for path in checkpoint.files[:1]:
        card = path.parent / "README.md"
        if card.is_file():
            parts = card.read_text(encoding="utf-8", errors="replace").split("---")
            try:
                found: Any = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else None
            except yaml.YAMLError:
                found = None
            if isinstance(found, dict) and found.get("license"):
                return str(found["license"])
    return None


def model_card(
    name: str,
    method: str,
    options: Mapping[str, Any],
    inputs: Sequence[Input],
    notes: Sequence[str],
    digest: Digest | None,
) -> str:
    """Markdown with the front matter that model hubs read.

    One licence of all inputs is carried over as ``license``; several are listed as ``other``, for a person to decide.
    """
    import torch

    licences = sorted({each.licence for each in inputs if each.licence})
    front: dict[str, Any] = {"tags": ["merge", "fusion_bench"], "base_model": [each.label for each in inputs]}
    if licences:
        front["license"] = licences[0] if len(licences) == 1 else "other"
        if len(licences) > 1:
            front["license_name"] = " and ".join(licences)
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "", f"# {as_text(name)}", ""]
    lines += [f"Merged with {as_text(method)} by fusion_bench {__version__}.", "", "## Method", ""]
    settings = yaml.safe_dump({"type": method, **options}, sort_keys=False).strip()
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", settings))])
    lines += [f"{fence}yaml", settings, fence, "", "## Inputs", ""]
    heading = {"blake3": "BLAKE3", "sha256": "SHA-256", None: "digest"}[digest]
    lines += [f"| role | where | file | bytes | {heading} | licence |", "| --- | --- | --- | ---: | --- | --- |"]
    for each in inputs:
        for file, size, found in each.files or (("in memory", 0, None),):
            known = f"`{found}`" if found else "not computed"
            role, label, named, licence = map(as_text, (each.role, each.label, file, each.licence or "not stated"))
            lines.append(f"| {role} | {label} | {named} | {size:,} | {known} | {licence} |")
    if notes:
        lines += ["", "## Notes", "", *(f"- {as_text(note)}" for note in notes)]
    lines += ["", "## Made with", ""]
    lines += [f"fusion_bench {__version__}, torch {torch.__version__}, Python {platform.python_version()}."]
    return "\n".join(lines) + "\n"


def as_text(words: str) -> str:
    """Words that Markdown shows as they are, in a table too; line breaks and other runs of white space are one space.

    Example:
        >>> print(as_text("a|b `c` my_model"), as_text("_x_"))
        a\\|b \\`c\\` my_model \\_x\\_
    """
    # an underscore between letters means nothing, and paths are full of them
    return re.sub(r"[\\`*<>\[\]|&~#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(words.split()))
