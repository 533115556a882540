"""A LoRA adapter on its base: a checkpoint whose tensors are θ₀ + s·B·A, computed where they are asked for."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.adapter_config import AdapterConfig, base_config, read_adapter_config, ties_embeddings
from fusion_bench.weights.adapter_layout import holds, orientations, target, tied_together
from fusion_bench.weights.checkpoint import Checkpoint, Factors, StateCheckpoint
from fusion_bench.weights.header import Spec
from fusion_bench.weights.linearized import linearized_layers, tangent
from fusion_bench.weights.spans import Span
from fusion_bench.weights.weight_files import ADAPTER, ADAPTER_WEIGHTS, LINEARIZED, open_files

_Halves: TypeAlias = "dict[tuple[str, bool], dict[str, Tensor]]"
"""The factors of a module, which is an embedding or is not: ``A`` and ``B``, linearised ones also ``A0`` and ``B0``."""

_ROOT = "base_model.model."
_KEY = re.compile(r"^(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?$")
_BLOCK = 1 << 16  # entries of a product computed at once, in whole rows: the same rows whatever part is asked for
_KEPT = 4  # blocks kept for the neighbours that are asked for next


@dataclass(frozen=True)
class LowRank:
    """Δ = ``scaling`` · ``left`` · ``right``, or its transpose where that is how the layer stores its weight."""

    left: Tensor
    right: Tensor
    scaling: float
    transposed: bool = False

    @property
    def product(self) -> tuple[int, int]:
        """The shape of left · right."""
        return self.left.shape[0], self.right.shape[1]

    def factors(self) -> Factors:
        """Δ as two ``float64`` matrices."""
        left, right = self.scaling * self.left.double(), self.right.double()
        return Factors(right.T, left.T) if self.transposed else Factors(left, right)


class AdapterCheckpoint(Checkpoint):
    """The base with low-rank differences on some tensors and others replaced.

    Tensors with a difference are ``float64``: the sum is not rounded before it is fused.

    Args:
        base: θ₀.
        low_rank: differences by the name of the base's tensor.
        replaced: whole tensors instead of the base's (``modules_to_save``, trained biases); a difference to one of them
            is added to it.
    """

    def __init__(
        self,
        base: Checkpoint,
        low_rank: Mapping[str, LowRank],
        replaced: Mapping[str, Tensor],
        *,
        label: str,
        files: tuple[Path, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.label, self._base, self._low_rank, self._files = label, base, dict(low_rank), files
        self.notes = notes
        self._replaced = StateCheckpoint(replaced, label=label)
        self.specs = {
            name: Spec(spec.shape, torch.float64) if name in low_rank else self._replaced.specs.get(name, spec)
            for name, spec in base.specs.items()
        }
        self._blocks: dict[tuple[str, int], Tensor] = {}
        self._lock = threading.Lock()

    def gather(self, spans: Sequence[Span]) -> Tensor:
        if not any(name in self._low_rank or name in self._replaced for name, _, _ in spans):
            return self._base.gather(spans)
        parts = [self._part(span) for span in spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def place(self, name: str) -> str:
        return self.label if name in self._low_rank or name in self._replaced else self._base.place(name)

    def factors(self, name: str) -> Factors | None:
        if name not in self._low_rank or name in self._replaced:  # a difference to what is not the base's
            return None
        return self._low_rank[name].factors()

    @property
    def files(self) -> tuple[Path, ...]:
        return self._files

    @property
    def tokenizer(self) -> Path | None:
        return self._base.tokenizer  # its rows are the base's

    @property
    def aliases(self) -> Mapping[str, str]:
        changed = self._low_rank.keys() | self._replaced.keys()
        return {name: first for name, first in self._base.aliases.items() if not {name, first} & changed}

    def _part(self, span: Span) -> Tensor:
        base = (self._replaced if span.name in self._replaced else self._base).gather([span])
        return base.double() + self._difference(span) if span.name in self._low_rank else base

    def _difference(self, span: Span) -> Tensor:
        name, start, stop = span
        columns = self.specs[name].numel // self.specs[name].shape[0]
        rows = max(1, _BLOCK // columns)
        first, last = start // columns // rows, (stop - 1) // columns // rows
        blocks = [self._block(name, number, rows) for number in range(first, last + 1)]
        flat = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        offset = first * rows * columns
        return flat[start - offset : stop - offset]

    def _block(self, name: str, number: int, rows: int) -> Tensor:
        key = (name, number)
        with self._lock:
            if key in self._blocks:
                return self._blocks[key]
        factors = self._low_rank[name].factors()
        made = (factors.left[number * rows : (number + 1) * rows] @ factors.right).reshape(-1)
        with self._lock:
            self._blocks[key] = made
            while len(self._blocks) > _KEPT:
                del self._blocks[next(iter(self._blocks))]
        return made


def open_adapter(folder: Path, base: Checkpoint, *, label: str) -> AdapterCheckpoint:
    """Open the folder of an adapter on its base: one that PEFT saved, or one of linearised LoRA layers.

    Raises:
        FusionBenchError: another kind of adapter than LoRA, a damaged config, keys or shapes that match nothing in the
            base, a factor without its other half, a base that ties what the adapter tells apart, both a file of PEFT's
            and one of linearised layers.
    """
    config = read_adapter_config(folder / ADAPTER)
    file = _weights_of(folder)
    stored = open_files([file], label=label)
    halves, whole = _linearized_parts(stored, label) if file.name == LINEARIZED else _parts(stored)
    stored.close()
    if not halves and not whole:
        raise FusionBenchError(f"{label} adapts nothing: it holds no tensors")
    settings = base_config(base)
    if ties_embeddings(settings):
        whole = tied_together([f"{module}.weight" for module, _ in halves], whole, base, label)
    # a tensor that is the base's anyway is read from there: it need not stay in memory, and differences stay low-rank
    replaced = {target(name, base, label): tensor for name, tensor in whole.items()}
    replaced = {name: tensor for name, tensor in replaced.items() if not holds(base, name, tensor)}
    low_rank = {
        target(f"{module}.weight", base, label): _pair(module, embedding, pair, config, label)
        for (module, embedding), pair in halves.items()
    }
    linear = {name: pair.product for name, pair in low_rank.items() if not pair.transposed}
    for name, transposed in orientations(linear, base, config, settings).items():
        low_rank[name] = replace(low_rank[name], transposed=transposed)
    for name, pair in low_rank.items():
        _check_shape(name, pair, replaced.get(name), base, label)
    files = (folder / ADAPTER, file)
    return AdapterCheckpoint(base, low_rank, replaced, label=label, files=files, notes=stored.notes)


def _weights_of(folder: Path) -> Path:
    """The file of an adapter's tensors."""
    found = [name for name in ADAPTER_WEIGHTS if (folder / name).is_file()]
    if not found:
        raise FusionBenchError(
            f"{folder} has no {ADAPTER_WEIGHTS[0]}",
            hint=f"give the folder that peft saved, or one with {LINEARIZED}",
        )
    if LINEARIZED in found and found != [LINEARIZED]:
        raise FusionBenchError(
            f"{folder} has both {found[0]} and {LINEARIZED}: these are two adapters",
            hint="keep the one that is meant, and give the other a folder of its own",
        )
    return folder / found[0]


def _parts(stored: Checkpoint) -> tuple[_Halves, dict[str, Tensor]]:
    """What PEFT saved: the factors by module and whether it is an embedding, and the tensors stored whole."""
    halves: _Halves = {}
    whole: dict[str, Tensor] = {}
    for key in stored:
        # of an adapted embedding or head, peft also stores the weight that the factors were trained on: base_layer
        name = key.removeprefix(_ROOT).replace(".base_layer.", ".")
        found = _KEY.match(name)
        if found:
            halves.setdefault((found["module"], bool(found["embedding"])), {})[found["side"]] = stored[key]
        else:
            whole[name] = stored[key]
    return halves, whole


def _linearized_parts(stored: Checkpoint, label: str) -> tuple[_Halves, dict[str, Tensor]]:
    """The same of linearised layers: the factors have their initial values beside them."""
    layers = linearized_layers(stored, label)
    return {(layer.removeprefix(_ROOT), False): factors for layer, factors in layers.items()}, {}


def _pair(module: str, embedding: bool, pair: dict[str, Tensor], config: AdapterConfig, label: str) -> LowRank:
    """The factors of a module, embeddings' already the right way round: stored as (d, r) and (r, words)."""
    if not {"A", "B"} <= set(pair):
        raise FusionBenchError(f"{label}: {module} has lora_{next(iter(pair))} without its other half")
    a, b = pair["A"], pair["B"]
    if a.ndim < 2 or b.ndim < 2 or b.shape[1] != a.shape[0] or not a.shape[0]:
        raise FusionBenchError(
            f"{label}: B {tuple(b.shape)} and A {tuple(a.shape)} of {module} have no product",
            hint="the file is damaged: save the adapter again with peft",
        )
    scaling = config.scaling(module, a.shape[0])
    if "A0" in pair:
        b, a = tangent(a, b, pair["A0"], pair["B0"])
    return LowRank(b.reshape(b.shape[0], -1), a.reshape(a.shape[0], -1), scaling, transposed=embedding)


def _check_shape(name: str, pair: LowRank, stored: Tensor | None, base: Checkpoint, label: str) -> None:
    """Refuse a product, or a stored ``base_layer``, of another shape than the base's tensor."""
    shape = base.specs[name].shape
    rows, columns = pair.product[::-1] if pair.transposed else pair.product
    if len(shape) < 2 or (rows, columns) != (shape[0], math.prod(shape[1:])):
        raise FusionBenchError(
            f"{label}: B {tuple(pair.left.shape)} and A {tuple(pair.right.shape)} make no {shape}, as {name!r} has",
            hint="this adapter belongs to another base",
        )
    if stored is not None and tuple(stored.shape) != shape:
        raise FusionBenchError(
            f"{label} was trained on {name!r} of shape {tuple(stored.shape)}, and {base.label} has {shape}",
            hint="this adapter belongs to another base",
        )
