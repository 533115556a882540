"""Manifests: which files a pool has, and the SHA-256 sums they must have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError, nearest


def locate(path: str | Path) -> Path:
    """A folder on disk: ``package://name`` is ``fusion_bench/assets/name``, anything else a path.

    Example:
        >>> locate("package://clip_mini").name
        'clip_mini'
    """
    text = str(path)
    if text.startswith("package://"):
        import fusion_bench

        return Path(fusion_bench.__file__).parent / "assets" / text.removeprefix("package://")
    return Path(text).expanduser()


@dataclass(frozen=True)
class Manifest:
    """The content of ``folder/manifest.json``: relative names, sizes and sums."""

    folder: Path
    files: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """Read ``manifest.json``.

        Raises:
            FusionBenchError: no such folder or manifest, or one that is not of schema 1.
        """
        root = locate(folder)
        path = root / "manifest.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != 1:
                raise FusionBenchError(f"{path} is of schema {content['schema']}", hint="this version reads schema 1")
            return cls(root, content["files"])
        except FileNotFoundError:
            raise FusionBenchError(f"no manifest at {path}", hint=_remedy(root)) from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise FusionBenchError(f"{path} is damaged: {error!r}", hint=_remedy(root)) from error

    def path(self, name: str) -> Path:
        """The verified path of a file.

        Its sum is computed at every first use by an object that keeps what it read: 60 MB take a tenth of a second,
        less than a stamp that could go stale would be worth.

        Raises:
            FusionBenchError: the file is missing, truncated or altered.
        """
        if name not in self.files:
            near = nearest(name, self.files)
            raise FusionBenchError(
                f"{name!r} is not in the manifest of {self.folder}", hint=f"nearest: {', '.join(near) or 'none'}"
            )
        path, entry = self.folder / name, self.files[name]
        try:
            size = path.stat().st_size
            if size != entry["bytes"]:
                raise FusionBenchError(f"{path} has {size:,} bytes, not {entry['bytes']:,}", hint=_remedy(self.folder))
            found = file_sha256(path)
        except OSError as error:
            raise FusionBenchError(f"cannot read {path}: {error.strerror}", hint=_remedy(self.folder)) from error
        if found != entry["sha256"]:
            raise FusionBenchError(
                f"{path} was altered: its SHA-256 is {found[:16]}…, the manifest says {entry['sha256'][:16]}…",
                hint=_remedy(self.folder),
            )
        return path

    def sum(self, name: str) -> str:
        """The SHA-256 sum that the manifest gives a file."""
        return str(self.files[name]["sha256"])

    @property
    def digest(self) -> str:
        """One hash of all names and sums."""
        text = json.dumps({name: entry["sha256"] for name, entry in sorted(self.files.items())})
        return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 sum of a file, read in pieces."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _remedy(folder: Path) -> str:
    if folder.parent.name == "assets" and folder.parent.parent.name == "fusion_bench":
        return "restore it with 'git checkout' or reinstall: pip install --force-reinstall fusion-bench-suite"
    return "write the pool again; fusion_bench zoo build clip_mini shows the layout"
