"""Files of weights as checkpoints, whatever the weights are for: safetensors, and pickles of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.file_checkpoint import FileCheckpoint
from fusion_bench.weights.header import Header, read_header
from fusion_bench.weights.pickles import open_pickles
from fusion_bench.weights.suffixes import PICKLES

ADAPTER = "adapter_config.json"
LINEARIZED = "linearized_adapter_model.safetensors"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", LINEARIZED)


def open_files(paths: Sequence[Path], *, label: str, like: Checkpoint | None = None) -> Checkpoint:
    """Open the files of one model; of safetensors, the headers are read and nothing else.

    Args:
        paths: one file, or shards in natural order.
        label: how messages call it.
        like: a checkpoint whose headers this one probably has: those are parsed once.

    Raises:
        FusionBenchError: a file that cannot be read.
    """
    return open_pickles(paths, label=label) if paths[0].suffix in PICKLES else _files(paths, label, like)


def _files(paths: Sequence[Path], label: str, like: Checkpoint | None) -> FileCheckpoint:
    known = like.headers if isinstance(like, FileCheckpoint) and len(like.headers) == len(paths) else None
    headers: dict[Path, Header] = {}
    for number, path in enumerate(paths):
        headers[path] = read_header(path, like=known[number] if known else None)
    return FileCheckpoint(headers, label=label)
