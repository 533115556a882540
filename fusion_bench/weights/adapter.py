"""A LoRA adapter on its base: a checkpoint whose tensors are θ₀ + s·B·A, computed where they are asked for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.weights.checkpoint import Checkpoint, Factors, Span, StateCheckpoint
from fusion_bench.weights.header import Spec

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
        replaced: whole tensors instead of the base's (``modules_to_save``, trained biases).
    """

    def __init__(
        self,
        base: Checkpoint,
        low_rank: Mapping[str, LowRank],
        replaced: Mapping[str, Tensor],
        *,
        label: str,
        files: tuple[Path, ...] = (),
    ) -> None:
        self.label, self._base, self._low_rank, self._files = label, base, dict(low_rank), files
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
        return self._low_rank[name].factors() if name in self._low_rank else None

    @property
    def files(self) -> tuple[Path, ...]:
        return self._files

    def _part(self, span: Span) -> Tensor:
        if span.name in self._replaced:
            return self._replaced.gather([span])
        base = self._base.gather([span])
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
    """Open a PEFT folder on its base.

    Raises:
        FusionBenchError: another kind of adapter than LoRA, keys or shapes that match nothing in the base, a factor
            without its other half.
    """
    from fusion_bench.weights.opening import ADAPTER, open_checkpoint

    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FusionBenchError(f"cannot read {folder / ADAPTER}: {error}") from error
    kind = config.get("peft_type")
    unsupported = [name for name in ("use_dora", "use_qalora", "alora_invocation_tokens") if config.get(name)]
    if kind != "LORA" or unsupported:
        what = f"a {kind} adapter" if kind != "LORA" else f"a LoRA with {unsupported[0]}"
        raise FusionBenchError(f"{folder} is {what}", hint="merge it into its base with peft, and give that model")
    file = next(
        (folder / n for n in ("adapter_model.safetensors", "adapter_model.bin") if (folder / n).is_file()), None
    )
    if file is None:
        raise FusionBenchError(f"{folder} has no adapter_model.safetensors")
    stored = open_checkpoint(file, label=label)
    halves: dict[tuple[str, bool], dict[str, Tensor]] = {}
    replaced: dict[str, Tensor] = {}
    for key in stored:
        name = key.removeprefix(_ROOT).replace(".base_layer.", ".")
        found = _KEY.match(name)
        if found:
            halves.setdefault((found["module"], bool(found["embedding"])), {})[found["side"]] = stored[key]
        else:
            replaced[_target(name, base, label)] = stored[key]
    low_rank = dict(_pair(module, embedding, pair, config, base, label) for (module, embedding), pair in halves.items())
    if not low_rank and not replaced:
        raise FusionBenchError(f"{label} adapts nothing: it holds no tensors")
    stored.close()
    return AdapterCheckpoint(base, low_rank, replaced, label=label, files=(folder / ADAPTER, file))


def _pair(
    module: str, embedding: bool, pair: dict[str, Tensor], config: Mapping[str, Any], base: Checkpoint, label: str
) -> tuple[str, LowRank]:
    if set(pair) != {"A", "B"}:
        raise FusionBenchError(f"{label}: {module} has lora_{next(iter(pair))} without its other half")
    target = _target(f"{module}.weight", base, label)
    a, b = pair["A"], pair["B"]
    rank = a.shape[0]
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", rank))
    scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    left, right = b.reshape(b.shape[0], -1), a.reshape(rank, -1)
    # embeddings are stored as (d, r) and (r, words) for a weight (words, d); fan_in_fan_out layers as (in, out)
    found = LowRank(left, right, scaling, transposed=embedding or bool(config.get("fan_in_fan_out")))
    shape = base.specs[target].shape
    expected = (shape[0], base.specs[target].numel // max(1, shape[0]))
    rows, columns = (right.shape[1], left.shape[0]) if found.transposed else (left.shape[0], right.shape[1])
    if left.shape[1] != rank or (rows, columns) != expected:
        raise FusionBenchError(
            f"{label}: B {tuple(b.shape)} and A {tuple(a.shape)} of {module} make no {shape}, as {target!r} has",
            hint="this adapter belongs to another base",
        )
    return target, found


def _target(name: str, base: Checkpoint, label: str) -> str:
    """The base's name of a tensor, also where one of the two is saved without the model's prefix."""
    if name in base.specs:
        return name
    found = [known for known in base.specs if known.endswith(f".{name}") or name.endswith(f".{known}")]
    if len(found) == 1:
        return found[0]
    near = nearest(name, base.specs, count=1)
    raise FusionBenchError(
        f"{label} adapts {name!r}, and {base.label} has {'several such tensors' if found else 'no such tensor'}",
        hint=f"nearest: {near[0]!r}" if near else "this adapter belongs to another base",
    )


def _by_pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """PEFT's rule: the first pattern that is the end of the module's path."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
