"""Where a number comes from: commit, versions, machine."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("fusion-bench-suite", "torch", "open_clip_torch", "timm", "transformers", "datasets", "mlflow", "numpy")


def provenance() -> dict[str, str]:
    """Tags of every run: ``commit`` (with ``+`` where the checkout has changes), ``versions``, ``machine``."""
    versions = {"python": platform.python_version()}
    versions |= {name: found for name in _PACKAGES if (found := _version(name))}
    tags = {"versions": json.dumps(versions), "machine": _machine()}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["commit"] = commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
        tags["mlflow.source.git.commit"] = commit
    return tags


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


def _git(*arguments: str) -> str:
    """Of the checkout this package runs from; empty where it is an installed package."""
    folder = Path(__file__).resolve().parent.parent.parent
    if not (folder / ".git").exists():
        return ""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
