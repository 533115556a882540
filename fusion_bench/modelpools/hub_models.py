"""The checkpoints of a pool in the hub's formats: where they are, how they fit, and which part of them is fused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.datasets.digests import content_sum
from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, local, missing
from fusion_bench.modelpools.base import BASE, MULTITASK
from fusion_bench.weights import check_finite, open_checkpoint
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch, fit
from fusion_bench.weights.renamed import renamed
from fusion_bench.weights.weight_files import ADAPTER

_SMALL = (".json", ".txt", ".model", ".jinja")  # what is read beside the weights

Part = Callable[[Checkpoint], Mapping[str, str]]
"""The names of what is fused of a checkpoint, to those that it is stored under."""


def whole(checkpoint: Checkpoint) -> dict[str, str]:
    """The part that is everything."""
    return {name: name for name in checkpoint.specs}


class HubModels:
    """A base and its experts: folders on this machine, or repositories that were fetched. Nothing is downloaded here.

    Args:
        pool: the pool's name, for messages.
        base, experts, multitask: where they are; see ``hub.Source``. A PEFT adapter is opened on the base.
        part: what is fused of them.
        lone: how that part names its tensors where it is saved, and adapted, by itself.
        on_mismatch: what is done about a tensor that does not fit the base's; see ``weights.fitting``.

    Raises:
        FusionBenchError: no expert, or a source that cannot be understood.
    """

    def __init__(
        self,
        pool: str,
        base: Any,
        experts: Mapping[str, Any],
        multitask: Any = None,
        *,
        part: Part = whole,
        lone: Part | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        if not experts:
            raise FusionBenchError(f"model pool {pool!r} has no expert", hint="add experts: {task: where it is}")
        given = {BASE: base, **experts, **({} if multitask is None else {MULTITASK: multitask})}
        self.sources = {
            name: Source.parse(value, kind="model", where=f"model pool {pool!r}, {name}")
            for name, value in given.items()
        }
        self.pool, self._part, self._lone, self._on_mismatch = pool, part, lone, on_mismatch
        self.expert_names = tuple(experts)
        self._folders: dict[str, Path] = {}
        self._opened: dict[str, Checkpoint] = {}
        self._parts: dict[str, Checkpoint] = {}
        self._known_sums: dict[str, list[Any]] = {}

    def folder(self, name: str) -> Path:
        """Where a model is on this machine.

        Raises:
            FusionBenchError: it is not, with the command that fetches it.
        """
        if name not in self._folders:
            source = self.sources[name]
            found = local(source)
            if found is None:
                hints = {
                    "hub": f"on a machine with network: fusion_bench pools fetch {self.pool}",
                    "python": "install it with pip; the pool's YAML may say how (install:)",
                }
                taken = "paths are taken from the working folder; the pool's YAML may say what makes it (make:)"
                raise FusionBenchError(
                    f"model pool {self.pool!r}: {source.label} ({name}) is not here: {missing(source)}",
                    hint=hints.get(source.place, taken),
                )
            if source.place != "hub":  # what comes from the hub was verified when it came
                _verify(found, source.sha256, label=self.label(name))
            self._folders[name] = found
        return self._folders[name]

    def checkpoint(self, name: str) -> Checkpoint:
        """The part of a model that is fused, checked against the base; its tensors are read when they are asked for.

        Raises:
            FusionBenchError: it cannot be read, has nothing of that part, or does not fit the base.
        """
        if name not in self._parts:
            opened = self._open(name)
            names = self._part(opened)
            if not names:
                first = next(iter(opened.specs), "nothing")
                raise FusionBenchError(
                    f"{self.label(name)} has nothing of what pool {self.pool!r} fuses; its first tensor is {first!r}",
                    hint="it should be a model of the base's architecture",
                )
            found = renamed(opened, names)
            if name != BASE:
                found, _ = fit(found, self.checkpoint(BASE), on_mismatch=self._on_mismatch)
            self._parts[name] = found
        return self._parts[name]

    def label(self, name: str) -> str:
        """How messages call a model."""
        return f"{self.sources[name].label} ({name})"

    def content_hash(self) -> str:
        """A hash of every model: its weight files, and its configuration, tokenizer and processor beside them."""
        return hashlib.sha256(json.dumps({name: self._sums(name) for name in self.sources}).encode()).hexdigest()

    def base_hash(self) -> str:
        """The same of the base alone."""
        return hashlib.sha256(json.dumps(self._sums(BASE)).encode()).hexdigest()

    def _sums(self, name: str) -> list[Any]:
        if name not in self._known_sums:  # every case asks, and the files of large models take a second to read
            folder = self.folder(name)
            beside = sorted(path for path in folder.iterdir() if path.suffix in _SMALL) if folder.is_dir() else []
            weights = [content_sum(path) for path in self._open(name).files]
            self._known_sums[name] = [weights, {path.name: content_sum(path) for path in beside if path.is_file()}]
        return self._known_sums[name]

    def all_of(self, name: str) -> Checkpoint:
        """A model with all that is in its files, what is not fused among it."""
        return self._open(name)

    def _open(self, name: str) -> Checkpoint:
        if name not in self._opened:
            folder, base = self.folder(name), None if name == BASE else self._open(BASE)
            bases = [base]
            if base is not None and self._lone is not None and (folder / ADAPTER).is_file():
                bases.append(renamed(base, self._lone(base)))
            self._opened[name] = _first([partial(self._try, name, folder, base) for base in bases])
        return self._opened[name]

    def _try(self, name: str, folder: Path, base: Checkpoint | None) -> Checkpoint:
        meant = self.sources[name].weights
        place = folder / meant if meant else folder
        return open_checkpoint(place, label=self.label(name), base=base, like=base)


def _first(attempts: Sequence[Callable[[], Checkpoint]]) -> Checkpoint:
    """The first attempt that succeeds; where none does, what is wrong with the first."""
    try:
        return attempts[0]()
    except FusionBenchError:
        for attempt in attempts[1:]:
            with suppress(FusionBenchError):
                return attempt()
        raise


def load_into(module: nn.Module, state: Mapping[str, Tensor], *, expected: Mapping[str, Tensor], where: str) -> None:
    """Give a module the tensors of a state dict, one at a time; what is not in it keeps its values.

    Args:
        module: of which the tensors take their names, and keep their types.
        state: what is loaded.
        expected: what a state dict of the pool has.
        where: how messages call that.

    Raises:
        FusionBenchError: a tensor that is missing, too many, of another shape, not in the module, or not finite.
    """
    found = open_checkpoint(state, label="the state dict")
    fit(found, open_checkpoint(expected, label=where))
    own = module.state_dict()
    for name in found:
        if name not in own or own[name].shape != torch.Size(found.specs[name].shape):
            raise FusionBenchError(
                f"{where} has a tensor {name!r} {found.specs[name].shape} that its configuration has not",
                hint="config.json and the weights are not of one model",
            )
        tensor = found[name]
        check_finite({name: tensor}, name="the state dict")
        if own[name].is_meta:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, nn.Parameter(tensor.to(own[name].dtype, copy=True)))
        else:
            own[name].copy_(tensor)


def hollow(module: nn.Module, names: Container[str]) -> nn.Module:
    """The module without values of some of its parameters, for ``load_into`` to give.

    To make a model anew each time, random values would be drawn only to be overwritten; a copy of a hollow one takes
    no time and no room. Buffers keep their values.

    Example:
        >>> layer = hollow(nn.Linear(2, 1), {"weight"})
        >>> layer.weight.is_meta, layer.bias.is_meta
        (True, False)
    """
    for name, parameter in list(module.named_parameters()):
        if name in names:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, nn.Parameter(torch.empty_like(parameter, device="meta")))
    return module


def _verify(folder: Path, sums: Mapping[str, str], *, label: str) -> None:
    for file, expected in sums.items():
        path = folder / file
        if not path.is_file():
            raise FusionBenchError(f"{label} has no {file}", hint=f"{folder} is not what the pool was made with")
        found = file_sha256(path)
        if found != expected:
            raise FusionBenchError(
                f"{label}: {file} has the SHA-256 {found[:16]}…, the pool's YAML says {expected[:16]}…",
                hint="it is another version than the pool was made with: install or fetch that one",
            )
