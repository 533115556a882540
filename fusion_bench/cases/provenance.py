"""Where a number comes from: commit, versions, machine."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fusion_bench.cases.fingerprint import plugin_files, plugin_hash

_PACKAGES = ("fusion-bench-suite", "torch", "open_clip_torch", "timm", "transformers", "datasets", "mlflow", "numpy")


def provenance() -> dict[str, str]:
    """Tags of every run: ``commit`` (with ``+`` where the checkout has changes), ``versions``, ``machine``."""
    versions = {"python": platform.python_version()}
    versions |= {name: found for name in _PACKAGES if (found := _version(name))}
    tags = {"versions": json.dumps(versions), "machine": _machine()}
    folder = Path(__file__).resolve().parent.parent.parent
    commit = _git(folder, "rev-parse", "HEAD") if (folder / ".git").exists() else ""  # else an installed package
    if commit:
        tags["commit"] = commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
        tags["mlflow.source.git.commit"] = commit
    return tags


def plugin_sources(classes: Iterable[type]) -> dict[str, str]:
    """The user's own code behind classes: by module a digest of its files, and the commit of their repository.

    The commit has a ``+`` where these files are not as committed, and is left out where they lie in no repository.

    Example:
        >>> from fusion_bench.cases.case import Case
        >>> plugin_sources([Case])
        {}
    """
    found = {}
    for cls in classes:
        files = plugin_files(cls)
        if files:
            folder = files[0].parent
            commit = _git(folder, "rev-parse", "HEAD")
            changed = _git(folder, "status", "--porcelain", "--", *map(str, files)) if commit else ""
            at = f", commit {commit[:12]}{'+' if changed else ''}" if commit else ""
            found[cls.__module__] = plugin_hash([cls])[:12] + at
    return found


def _machine() -> str:
    """What decides how sums are rounded: processor, the instructions torch uses on it, threads."""
    import torch

    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    capability, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{platform.system()}, {name}, {capability}, {threads} thread{'s' if threads != 1 else ''}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git(folder: Path, *arguments: str) -> str:
    """What git says of the repository that a folder lies in; empty where there is none, or no git."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
