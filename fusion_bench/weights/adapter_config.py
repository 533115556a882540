"""What a LoRA adapter's ``adapter_config.json`` says, checked, and what its base's ``config.json`` says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint

_MERGE = "merge it into its base with peft (merge_and_unload), and give that model"
# what makes of a LoRA something other than θ₀ + s·B·A on the base's own tensors, and what to do then
_UNSUPPORTED = {
    "use_dora": _MERGE,
    "use_qalora": _MERGE,
    "use_bdlora": _MERGE,
    "kasa_config": _MERGE,
    "monteclora_config": _MERGE,
    "velora_config": _MERGE,
    "lora_bias": _MERGE,
    "target_parameters": _MERGE,
    "trainable_token_indices": _MERGE,
    "layer_replication": f"{_MERGE}; it has more layers than the base, so its own base must have them too",
    "alora_invocation_tokens": "it depends on the input: no merged model is equal to it",
    "arrow_config": "it depends on the input: no merged model is equal to it",
}
# init_lora_weights that leave the base as it is, and the beginnings of those that write another base: they take s·B·A
# out of it (loftq also quantises it), and what a plain save_pretrained stores belongs to that residual
_HARMLESS = ("true", "false", "none", "gaussian", "eva", "orthogonal", "mica")
_REBASING = ("pissa", "olora", "corda", "lora_ga", "loftq")
_CONVERT = (
    "save it with peft's save_pretrained(folder, path_initial_model_for_weight_conversion=...), which makes an "
    "ordinary LoRA of it; or give the residual model as base, and set init_lora_weights to true"
)
_RESIDUAL = "give the model that this initialisation made as base, and set init_lora_weights to true"
_LANGUAGE_HEAD = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|ForMaskedLM|ForPreTraining)$")


@dataclass(frozen=True)
class AdapterConfig:
    """The fields that decide on numbers.

    Attributes:
        file: ``adapter_config.json``, for messages.
        fan_in_fan_out: PEFT writes one for all modules: whether the last of them keeps its weight as (in, out).
    """

    file: Path
    rank: int | None
    alpha: float
    ranks: Mapping[str, float]
    alphas: Mapping[str, float]
    rank_stabilised: bool
    fan_in_fan_out: bool

    def scaling(self, module: str, rank: int) -> float:
        """s of a module whose factors have this rank.

        Raises:
            FusionBenchError: the config gives the module another rank.
        """
        said = _by_pattern(self.ranks, module, rank if self.rank is None else self.rank)
        if said != rank:
            raise FusionBenchError(
                f"{self.file} gives {module} the rank {said:g}, and its factors have {rank}",
                hint="the config and the weights belong to different adapters",
            )
        alpha = _by_pattern(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_adapter_config(file: Path) -> AdapterConfig:
    """Read and check ``adapter_config.json``.

    Raises:
        FusionBenchError: unreadable, a field that means nothing, or an adapter that is more than θ₀ + s·B·A.
    """
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FusionBenchError(f"cannot read {file}: {error}") from error
    if not isinstance(config, dict):
        raise FusionBenchError(
            f"{file} holds a {type(config).__name__}, not fields by name", hint="give the file that peft saved"
        )
    if "peft_type" not in config:
        raise FusionBenchError(f"{file} has no peft_type", hint="give the file that peft saved")
    if config["peft_type"] != "LORA":
        raise FusionBenchError(f"{file.parent} is a {config['peft_type']} adapter", hint=_MERGE)
    for field, remedy in _UNSUPPORTED.items():
        if config.get(field):
            raise FusionBenchError(f"{file}: an adapter with {field} is not supported", hint=remedy)
    _check_start(config.get("init_lora_weights", True), file)
    return AdapterConfig(
        file=file,
        rank=_rank(config["r"], file, "r") if "r" in config else None,
        alpha=_number(config.get("lora_alpha", 8), file, "lora_alpha"),  # 8 is peft's own default
        ranks={key: _rank(value, file, f"rank_pattern[{key!r}]") for key, value in _pattern(config, file, "rank")},
        alphas={key: _number(value, file, f"alpha_pattern[{key!r}]") for key, value in _pattern(config, file, "alpha")},
        rank_stabilised=_flag(config, file, "use_rslora"),
        fan_in_fan_out=_flag(config, file, "fan_in_fan_out"),
    )


def base_config(base: Checkpoint) -> Mapping[str, Any]:
    """The ``config.json`` beside a base's weights; empty where there is none that can be read."""
    if not base.files:
        return {}
    try:
        found = json.loads((base.files[0].parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ties_embeddings(config: Mapping[str, Any]) -> bool:
    """Whether a model of this ``config.json`` that stores no output head has one: its embedding.

    Older transformers leave ``tie_word_embeddings`` out where it is the default, so a language model that says nothing
    ties too: it has a head, and it does not store one.
    """
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    said = [part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part]
    architectures = config.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if said and not any(said):
        return False
    return any(map(_LANGUAGE_HEAD.search, names)) if names else bool(said)


def _check_start(start: object, file: Path) -> None:
    """Refuse an initialisation that changed the base. One that was converted afterwards says ``true``."""
    name = str(start).lower()
    if name.startswith(_REBASING):
        raise FusionBenchError(
            f"{file}: init_lora_weights {start!r} changes the base, and the factors belong to that changed base",
            hint=_RESIDUAL if name == "loftq" else _CONVERT,
        )
    if name not in _HARMLESS:
        _refuse(file, "init_lora_weights", start, f"one of {', '.join(_HARMLESS)}")


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that is the end of the module's path."""
    for pattern, value in patterns.items():
        if re.match(_end_of_path(pattern), module):
            return value
    return default


def _pattern(config: Mapping[str, Any], file: Path, kind: str) -> list[tuple[str, object]]:
    """The entries of ``rank_pattern`` or ``alpha_pattern``, their expressions checked."""
    field = f"{kind}_pattern"
    found = {} if config.get(field) is None else config[field]
    if not isinstance(found, dict):
        _refuse(file, field, found, "module names or expressions to numbers")
    for key in found:
        _check_expression(key, file, field)
    return list(found.items())


def _check_expression(key: str, file: Path, field: str) -> None:
    try:
        re.compile(_end_of_path(key))
    except re.error as error:
        _refuse(file, field, key, f"regular expressions ({error})")


def _end_of_path(pattern: str) -> str:
    return rf"(.*\.)?({pattern})$"


def _number(value: object, file: Path, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _refuse(file, field, value, "a number")
    return value


def _rank(value: object, file: Path, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(file, field, value, "an integer above 0")
    return value


def _flag(config: Mapping[str, Any], file: Path, field: str) -> bool:
    value = config.get(field, False)
    if not (value is None or isinstance(value, bool)):
        _refuse(file, field, value, "true or false")
    return bool(value)


def _refuse(file: Path, field: str, value: object, expected: str) -> NoReturn:
    raise FusionBenchError(f"{file}: {field} is {value!r}", hint=f"expected {expected}, as peft saves it")
