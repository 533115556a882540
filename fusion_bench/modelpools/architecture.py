"""Models of transformers from their configuration: opened with clear errors, tied and untied as they are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint

_OLD_BUFFERS = re.compile(
    r"(^|\.)((attn|crossattention)\.(masked_)?bias|position_ids|token_type_ids|rotary_emb\.inv_freq)$"
)
"""Masks and tables that old versions saved and new ones compute."""
_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt",
)  # fmt: skip


def opened(kind: Any, folder: Path, *, label: str) -> Any:
    """``kind.from_pretrained(folder)``, with what is wrong in one line. Code beside the weights is never run.

    Args:
        kind: a class of transformers.
        folder: on this machine.
        label: how messages call the model.

    Raises:
        FusionBenchError: the folder has no such file, or a damaged one.
    """
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FusionBenchError(
            f"cannot open {label} with {kind.__name__}: {reason}",
            hint=f"it is in {folder}: config.json and the tokenizer's files belong beside the weights",
        ) from error


def built(kind: Any, config: Any, *, label: str) -> nn.Module:
    """``kind.from_config(config)`` in float32, whatever type the configuration names.

    Raises:
        FusionBenchError: no model of that kind has such a configuration.
    """
    return _from_config(kind, config, label).float()


def undrawn(kind: Any, config: Any, *, label: str, dtype: torch.dtype) -> nn.Module:
    """A model in ``dtype`` whose parameters hold nothing yet: what is to be overwritten is neither drawn nor written.

    Buffers that are computed, such as the frequencies of rotary positions, have the values and types that transformers
    gives them when it loads a model of that type.

    Raises:
        FusionBenchError: no model of that kind has such a configuration.
    """
    config = deepcopy(config)
    setattr(config, "dtype" if hasattr(config, "dtype") else "torch_dtype", dtype)
    with _NothingDrawn():
        return _from_config(kind, config, label)


class _NothingDrawn(TorchFunctionMode):
    """Random values are not drawn, and no generator moves on.

    What draws is told by its name: transformers puts functions of its own in the place of ``torch.nn.init``'s.
    """

    _DRAWING = frozenset(
        """
        normal_ uniform_ trunc_normal_ kaiming_normal_ kaiming_uniform_ xavier_normal_ xavier_uniform_ orthogonal_
        """.split()
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", None) in self._DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _from_config(kind: Any, config: Any, label: str) -> nn.Module:
    try:
        model: nn.Module = kind.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        raise FusionBenchError(
            f"{label} is of type {getattr(config, 'model_type', '?')!r}, which {kind.__name__} knows nothing of",
            hint="another type of model pool fits it",
        ) from error
    return model


def meta_built(kind: Any, config: Any, *, label: str) -> nn.Module:
    """The same without values: for its names and shapes."""
    with torch.device("meta"):
        return built(kind, config, label=label)


def shared_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The names of every tensor of a model's state dict that has several, by the first of them.

    Example:
        >>> module = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
        >>> module["b"].weight = module["a"].weight
        >>> shared_names(module)
        {'a.weight': ('a.weight', 'b.weight')}
    """
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return {names[0]: tuple(names) for names in groups.values() if len(names) > 1}


def distinct_names(
    checkpoint: Checkpoint, groups: Mapping[str, tuple[str, ...]], *, apart: Iterable[str] = ()
) -> dict[str, str]:
    """One name for each tensor of a checkpoint, of those that a model shares: to the one that it is stored under.

    Names of one group that are stored with equal values are one tensor; stored with different values, or ``apart``,
    they are several, as transformers has it when it loads them.

    Args:
        checkpoint: what is stored.
        groups: see ``shared_names``.
        apart: names that are tensors of their own wherever they are stored.

    Example:
        >>> from fusion_bench.weights.checkpoint import StateCheckpoint
        >>> one, two = torch.zeros(2), torch.ones(2)
        >>> groups = {"shared": ("shared", "encoder", "head")}
        >>> distinct_names(StateCheckpoint({"encoder": one, "w": two}, label="mine"), groups)
        {'shared': 'encoder', 'w': 'w'}
        >>> distinct_names(StateCheckpoint({"shared": one, "encoder": one, "head": two}, label="mine"), groups)
        {'shared': 'shared', 'head': 'head'}
    """
    first = {name: names[0] for names in groups.values() for name in names}
    stored = {head: [name for name in names if name in checkpoint.specs] for head, names in groups.items()}
    found: dict[str, str] = {}
    for name in checkpoint.specs:
        head = first.get(name)
        if head is None or name in apart:
            found[name] = name
            continue
        joined = [n for n in stored[head] if n not in apart]
        if name == joined[0]:
            found[head] = name
        elif not _equal(checkpoint, name, joined[0]):
            found[name] = name
    return found


def untie(model: nn.Module, names: Iterable[str]) -> None:
    """Give tensors that a model shares with others a place of their own, with the values they have."""
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        setattr(module, leaf, nn.Parameter(getattr(module, leaf).detach().clone()))
        getattr(model, "all_tied_weights_keys", {}).pop(name, None)


def untie_as_stored(model: nn.Module, stored: Container[str]) -> None:
    """Give a place of their own to those names of a shared tensor, after its first, that a checkpoint stores apart."""
    untie(model, [n for first, names in shared_names(model).items() for n in names if n in stored and n != first])


def is_left_over(name: str, model: nn.Module) -> bool:
    """Whether a stored tensor is one that this version of the architecture does without.

    Example:
        >>> is_left_over("h.0.attn.masked_bias", nn.Linear(1, 1)), is_left_over("h.0.attn.c_attn.bias", nn.Linear(1, 1))
        (True, False)
    """
    if name in model.state_dict():
        return False
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return bool(_OLD_BUFFERS.search(name)) or any(re.search(pattern, name) for pattern in patterns)


def check_whole(model: nn.Module, state: Container[str], *, where: str) -> None:
    """Refuse weights that leave a parameter of a model as it was made: at random.

    Raises:
        FusionBenchError: a parameter that is not there, by none of its names.
    """
    groups = shared_names(model)
    others = {name: names for names in groups.values() for name in names}
    for name, _ in model.named_parameters(remove_duplicate=False):
        if not any(one in state for one in others.get(name, (name,))):
            raise FusionBenchError(
                f"{where} has no tensor {name!r}, which its configuration asks for",
                hint="config.json and the weights are not of one model",
            )


def padding_tokenizer(folder: Path, *, label: str) -> Any:
    """The tokenizer of a folder, padding on the right with its own token for that, else its end or unknown token.

    Raises:
        FusionBenchError: the folder has none (of which transformers 5 makes one without words), or no token pads.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise FusionBenchError(
            f"{label} has no tokenizer: {folder} holds none of {', '.join(_VOCABULARIES)}",
            hint="save it beside the weights, with the tokenizer's save_pretrained",
        )
    tokenizer = opened(AutoTokenizer, folder, label=label)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        spare = next((token for token in (tokenizer.eos_token, tokenizer.unk_token) if token is not None), None)
        if spare is None:
            raise FusionBenchError(
                f"the tokenizer of {label} has no token to pad with", hint="give it one (pad_token) and save it again"
            )
        tokenizer.pad_token = spare
    return tokenizer


def _equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    specs: Callable[[str], Any] = checkpoint.specs.__getitem__
    return specs(one).shape == specs(other).shape and torch.equal(checkpoint[one], checkpoint[other])
