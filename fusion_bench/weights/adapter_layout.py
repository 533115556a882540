"""How an adapter's modules lie in its base: by which names, which way round, and tied to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.weights.adapter_config import AdapterConfig
from fusion_bench.weights.checkpoint import Checkpoint

# transformers' layers that keep their weight as (in, out), Conv1D: in these models, under these names
_CONV1D_MODELS = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder"}
_CONV1D = {"c_attn", "c_proj", "c_fc", "q_attn"}
_EMBEDDINGS = {
    "embed_tokens", "wte", "word_embeddings", "word_embedding", "shared", "embed_in", "tok_embeddings", "tokens_embed",
    "embeddings",
}  # fmt: skip
_HEADS = {"lm_head", "embed_out", "proj_out", "output", "decoder"}


def target(name: str, base: Checkpoint, label: str) -> str:
    """The base's name of a tensor, also where one of the two is saved without the model's prefix."""
    found = _found(name, base)
    if len(found) == 1:
        return found[0]
    near = nearest(name, base.specs, count=1)
    raise FusionBenchError(
        f"{label} adapts {name!r}, and {base.label} has {'several such tensors' if found else 'no such tensor'}",
        hint=f"nearest: {near[0]!r}" if near else "this adapter belongs to another base",
    )


def holds(base: Checkpoint, name: str, tensor: Tensor) -> bool:
    """Whether the base's tensor of this name is this one, value for value."""
    spec = base.specs[name]
    if (spec.shape, spec.dtype) != (tuple(tensor.shape), tensor.dtype):
        return False
    return torch.equal(base[name].to(tensor.device), tensor)


def tied_together(
    adapted: Sequence[str], whole: Mapping[str, Tensor], base: Checkpoint, label: str
) -> dict[str, Tensor]:
    """An adapter's whole tensors for a base that ties its embedding to its head: one for both, where they are equal.

    PEFT ties them again only for ``modules_to_save`` with ``ensure_weight_tying``, and then stores the tensor twice. In
    all other cases the adapted model has two different tensors (or, merged by PEFT, a difference added to both).

    Args:
        adapted: names of the weights that have low-rank differences.
        whole: the whole tensors by the adapter's names.

    Raises:
        FusionBenchError: the base stores one tensor for both, and the adapter tells them apart.
    """
    tied = _tied(base)

    def is_tied(name: str) -> bool:
        found = _found(name, base)
        return found[0] in tied if len(found) == 1 else not found and _layer(name) in _EMBEDDINGS | _HEADS

    low_rank = [name for name in adapted if tied and is_tied(name)]
    names = [name for name in whole if tied and is_tied(name)]
    if not low_rank and all(holds(base, tied[0], whole[name]) for name in names):
        return {name: tensor for name, tensor in whole.items() if name not in names}
    sides = {_layer(name) in _HEADS for name in names}
    equal = all(torch.equal(whole[name], whole[names[0]]) for name in names)
    if low_rank or len(tied) > 1 or len(sides) < 2 or not equal:
        raise FusionBenchError(
            f"{label} changes {(low_rank or names)[0]!r}: that unties the embedding from the output head, and "
            f"{base.label} ties them (its config.json) and stores {tied[0]!r} for both",
            hint="untie the base: save it with a copy of that weight under each of the two names and "
            "tie_word_embeddings=false, and give that folder as base",
        )
    return {name: tensor for name, tensor in whole.items() if name not in names} | {tied[0]: whole[names[0]]}


def orientations(
    products: Mapping[str, tuple[int, int]], base: Checkpoint, config: AdapterConfig, settings: Mapping[str, Any]
) -> dict[str, bool]:
    """Which of the base's linear weights lie transposed to B·A: as (in, out), which is how Conv1D keeps them.

    A weight that is not square tells by its shape. PEFT writes ``fan_in_fan_out`` of the layer it came to last for all,
    so for a square weight other layers of its name, and the kind of the base, are asked before it.

    Args:
        products: shapes of B·A, (out, in), by the base's name of the weight.
        settings: the base's ``config.json``.

    Raises:
        FusionBenchError: a square weight that what is known contradicts itself about.
    """
    known: dict[str, bool] = {}
    square = []
    for name, (rows, columns) in products.items():
        shape = base.specs[name].shape
        if len(shape) == 2 and shape[0] == shape[1] and rows == columns:
            square.append(name)
        else:
            known[name] = len(shape) == 2 and shape != (rows, columns)
    seen = {kind for name, kind in known.items() if len(base.specs[name].shape) == 2}
    alone = len({_layer(name) for name in square}) == 1
    for name in square:
        named = {kind for other, kind in known.items() if _layer(other) == _layer(name)} | _shown(_layer(name), base)
        found = _square(_layer(name), named, seen, config.fan_in_fan_out, settings, alone=alone)
        if found is None:
            raise FusionBenchError(
                f"{config.file}: cannot know whether the square {name!r} is stored as (out, in) or (in, out): "
                f"fan_in_fan_out is {config.fan_in_fan_out}, one value for all layers, and others contradict it",
                hint="put the base's config.json beside its weights (its model_type tells), or merge the adapter into "
                "its base with peft, and give that model",
            )
        known[name] = found
    return known


def _square(
    layer: str, named: set[bool], seen: set[bool], flag: bool, settings: Mapping[str, Any], *, alone: bool
) -> bool | None:
    """Whether a square weight lies transposed; None where that cannot be known.

    Args:
        layer: the last part of its module's name.
        named: what other layers of that name show.
        seen: what the adapter's layers that are not square show.
        flag: ``fan_in_fan_out``.
        alone: whether the adapter's square layers all have that name: a flag that ``seen`` lacks is then theirs.
    """
    model = settings.get("model_type")
    if len(named) == 1:
        (kind,) = named
        doubtful = kind != flag and alone and flag not in seen and model not in _CONV1D_MODELS
        return None if doubtful else kind
    if model in _CONV1D_MODELS:
        return layer in _CONV1D
    if isinstance(model, str) and "auto_map" not in settings:  # transformers' own, without Conv1D
        return None if (seen or {flag}) != {False} else False
    return None if seen - {flag} else flag


def _shown(layer: str, base: Checkpoint) -> set[bool]:
    """What the base's own layers of a name show: a bias is as long as the output, so it tells the sides apart."""
    kinds = set()
    for name, spec in base.specs.items():
        bias = base.specs.get(f"{name.removesuffix('weight')}bias")
        if _layer(name) == layer and len(spec.shape) == 2 and spec.shape[0] != spec.shape[1] and bias is not None:
            kinds |= {side == 1 for side in (0, 1) if bias.shape == (spec.shape[side],)}
    return kinds


def _tied(base: Checkpoint) -> list[str]:
    """The stored embeddings, or heads, of a base that stores only those; none where it stores both."""
    matrices = {name: spec.shape for name, spec in base.specs.items() if len(spec.shape) == 2}
    embeddings = [name for name in matrices if _layer(name) in _EMBEDDINGS]
    shapes = {matrices[name] for name in embeddings}
    heads = [name for name in matrices if _layer(name) in _HEADS and (not shapes or matrices[name] in shapes)]
    return [] if embeddings and heads else embeddings or heads


def _layer(name: str) -> str:
    """The last part of the name of the module that a weight belongs to."""
    module, _, kind = name.rpartition(".")
    return module.rpartition(".")[2] if kind == "weight" else ""


def _found(name: str, base: Checkpoint) -> list[str]:
    if name in base.specs:
        return [name]
    return [known for known in base.specs if known.endswith(f".{name}") or name.endswith(f".{known}")]
