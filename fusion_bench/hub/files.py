"""Which files of a repository are wanted: weights once, what describes them, Parquet; told from names alone."""

from __future__ import annotations

import fnmatch
import glob
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.source import Kind, Source

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
#: The first of these that matches says which files are the weights: safetensors before pickles.
_WEIGHTS = (
    ("model-?????-of-?????.safetensors",),
    ("model.safetensors",),
    ("adapter_model.safetensors", "linearized_adapter_model.safetensors"),  # who has both is told when they are opened
    ("*.safetensors",),
    ("pytorch_model-?????-of-?????.bin",),
    ("pytorch_model.bin",),
    ("adapter_model.bin",),
    ("*.bin", "*.pt", "*.pth", "*.ckpt"),
)
_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
_NO_WEIGHTS = ("training_args.*", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*")  # states of a training run
_MODULE = re.compile(r"\d+_[A-Za-z]+")  # a module of a sentence embedding model: 1_Pooling
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.[a-z]+)")


def wanted(names: Iterable[str], source: Source, configs: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """The files that a source needs, of all that its repository has.

    Args:
        names: of the files, ``/`` between folders.
        source: a model: weights as safetensors, else pickles, and configuration, tokenizer and processor beside them;
            of weights, the one file that the source names where it does.
            A data set: its Parquet files, of the subset alone where there is one.
        configs: of a data set, what its card says under ``configs``.

    Example:
        >>> wanted(["config.json", "pytorch_model.bin", "model.safetensors", "onnx/model.onnx"], Source("a/b"))
        ['config.json', 'model.safetensors']
        >>> wanted(["a/test-0.parquet", "b/test-0.parquet"], Source("a/b", kind="dataset", subset="b"))
        ['b/test-0.parquet']
    """
    prefix = f"{source.subfolder.strip('/')}/" if source.subfolder else ""
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    of_data = source.kind == "dataset"
    chosen = _of_data(inside, source.subset, configs) if of_data else _of_model(inside, source.weights)
    return [prefix + name for name in sorted(chosen)]


def is_weights(name: str) -> bool:
    """Whether a file holds what takes the room: tensors or data, by its ending."""
    return PurePosixPath(name).suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".parquet")


def lack(folder: Path, kind: Kind, subset: str | None = None, weights: str | None = None) -> str | None:
    """What a local copy of a repository lacks, as far as it says itself; None where nothing does.

    Every shard that an index lists, or that a name counts (``-00000-of-00003``), must be there.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    configs = card_configs(folder / "README.md") if kind == "dataset" else ()
    found = wanted(names, Source("a/b", kind=kind, subset=subset, weights=weights), configs)
    for index in INDEXES:
        if index in found:
            return _unlisted(folder / index)
    if not any(is_weights(name) for name in found):
        if weights:
            return f"it has no {weights}"
        return "it has no weights" if kind == "model" else f"it has no Parquet file{f' of {subset}' if subset else ''}"
    return _uncounted(found)


def of_split(folder: Path, split: str, subset: str | None = None) -> list[Path]:
    """The Parquet files of one split in a local copy of a data set, in order; none where it has none of that name.

    By what its card says under ``configs``, else by the names of files and folders.

    Args:
        split: as the data set calls it.
        subset: the configuration of a data set that has several.

    Raises:
        FusionBenchError: it has several, and which is meant is not said.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet") if path.is_file())
    configs = card_configs(folder / "README.md")
    meant = subset or _unnamed(configs, folder)
    stated = [entry for entry in _entries(meant, configs) if isinstance(entry, Mapping) and "split" in entry]
    if stated:
        patterns = _paths([entry for entry in stated if entry["split"] == split])
        return [folder / name for name in names if _matches(name, patterns)]
    named = re.compile(rf"(?:^|[-_./]){re.escape(split)}(?:[-_./]|$)")
    return [folder / n for n in names if (subset is None or _in_subset(n, subset)) and named.search(n)]


def _unnamed(configs: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """The configuration that is meant where none is named: the only one, or the card's default."""
    named = [str(config.get("config_name", "default")) for config in configs]
    if len(named) == 1:
        return named[0]
    chosen = [name for name, config in zip(named, configs, strict=True) if config.get("default") is True]
    if named and not chosen and "default" not in named:
        raise FusionBenchError(
            f"the data set in {folder} has {len(named)} subsets, and none is named",
            hint=f"add subset: with one of {', '.join(named)}",
        )
    return chosen[0] if chosen else "default"


def subsets(names: Iterable[str], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The configurations that a data set has: what its card names, else the folders of its Parquet files."""
    named = [str(config["config_name"]) for config in configs if "config_name" in config]
    folders = {PurePosixPath(name).parts[0] for name in names if name.endswith(".parquet") and "/" in name}
    return named or sorted(folders)


def card_configs(card: Path) -> list[Mapping[str, Any]]:
    """What the YAML at the top of a data set's card says under ``configs``; nothing where it cannot be read."""
    import yaml

    try:
        head = card.read_text(encoding="utf-8").split("---")[1]
        content = yaml.safe_load(head)
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return []
    return as_configs(content.get("configs")) if isinstance(content, dict) else []


def as_configs(found: Any) -> list[Mapping[str, Any]]:
    """The configurations in a card's ``configs``, whatever else stands there left out."""
    return [config for config in found if isinstance(config, Mapping)] if isinstance(found, list) else []


def _of_model(names: Sequence[str], meant: str | None) -> list[str]:
    top = [name for name in names if "/" not in name and not _matches(name, _NO_WEIGHTS)]
    modules = [name for name in names if name.count("/") == 1 and _MODULE.fullmatch(name.partition("/")[0])]
    groups = _WEIGHTS if meant is None else ((glob.escape(meant),),)
    weights: list[str] = next(filter(None, ([n for n in top if _matches(n, group)] for group in groups)), [])
    beside = [name for name in top if _matches(name, _BESIDE) and not _foreign_index(name, weights)]
    return [*weights, *beside, *(name for name in modules if _matches(name, ("*.json", "*.safetensors")))]


def _foreign_index(name: str, weights: Sequence[str]) -> bool:
    """Whether a file is an index of weights that are not taken."""
    ending = PurePosixPath(name.removesuffix(".index.json")).suffix
    return name.endswith(".index.json") and not any("-of-" in one and one.endswith(ending) for one in weights)


def _of_data(names: Sequence[str], subset: str | None, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    files = [name for name in names if name.endswith(".parquet")]
    if subset is not None:
        stated = _stated(subset, configs)
        files = [n for n in files if (_matches(n, stated) if stated else _in_subset(n, subset))]
    return [*files, *(name for name in names if name in ("README.md", "dataset_infos.json"))]


def _stated(subset: str, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The patterns that a card gives for a configuration."""
    return _paths(_entries(subset, configs))


def _entries(subset: str, configs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What a card says of a configuration's files: patterns, or mappings of a split to its own."""
    for config in configs:
        if config.get("config_name", "default") == subset:
            found = config.get("data_files", [])
            return found if isinstance(found, list) else [found]
    return []


def _paths(entries: Sequence[Any]) -> list[str]:
    paths = [entry.get("path", []) if isinstance(entry, Mapping) else entry for entry in entries]
    return [str(one) for path in paths for one in (path if isinstance(path, list) else [path])]


def _in_subset(name: str, subset: str) -> bool:
    parts = PurePosixPath(name).parts
    return subset in parts[:-1] or parts[-1].startswith((f"{subset}-", f"{subset}."))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _unlisted(index: Path) -> str | None:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{index.name} cannot be read"
    lost = [shard for shard in shards if not (index.parent / shard).is_file()]
    return f"{len(lost)} of {len(shards)} shards that {index.name} lists are not there: {lost[0]}" if lost else None


def _uncounted(names: Sequence[str]) -> str | None:
    for name in names:
        counted = _SHARD.fullmatch(name)
        if counted:
            head, _, count, ending = counted.groups()
            first = 0 if ending == ".parquet" else 1
            for number in range(first, first + int(count)):
                other = f"{head}-{number:05d}-of-{count}{ending}"
                if other not in names:
                    return f"{other} is not there"
    return None
