"""Decoder-only language models of transformers, Llama, Gemma, Qwen2, Mistral, GPT-2: the whole model is fused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.architecture import (
    check_whole,
    distinct_names,
    is_left_over,
    meta_built,
    opened,
    shared_names,
    undrawn,
    untie_as_stored,
)
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, load_into
from fusion_bench.modelpools.hub_pool import HubPool
from fusion_bench.modelpools.text_models import CausalPool
from fusion_bench.weights import read_state_dict, write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch
from fusion_bench.weights.renamed import renamed

_CONFIG, _GENERATION = "config.json", "generation_config.json"
_OF_THE_BASE = ("vocab_size", "tie_word_embeddings", "pad_token_id")  # what follows from tensors and tokenizer


class HfCausalLM(HubPool, CausalPool):
    """A pool of decoders with their language-model heads.

    A head that is the embedding is fused once with it; one that is not is fused by itself. Tokenizer and settings of
    generation are the base's.

    Models are of the base's type: where it is stored in ``bfloat16`` they are built and evaluated in ``bfloat16``, on
    the CPU too, as transformers does, and an expert in ``float32`` is rounded to it; ``--precision`` turns autocast on
    or off, no weights into another type.

    The base, and each expert that has a ``config.json``, computes as its own configuration says (that of
    Qwen2.5-Math turns positions otherwise than its base's: ``rope_theta``), but for its vocabulary, its padding, and
    whether the head is the embedding. A merged model computes as the base's says.

    Args:
        name: of the pool.
        base: a folder or a repository of the hub (see ``hub.Source``). Code in it is never run.
        experts: by task, whole models or PEFT adapters of the base.
        multitask: the same, trained on all tasks.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``. Where an expert's tokens
            were added to, ``tokens`` fuses the rows of the base's tokens; ``base`` keeps the base's embedding and head,
            with nothing of that expert's.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        experts: dict[str, Any],
        multitask: Any = None,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        part = self._part
        self._open(HubModels(name, base, experts, multitask, part=part, lone=part, on_mismatch=on_mismatch))

    @property
    def tokenizer(self) -> Any:
        found = self._tokenizer
        found.padding_side = "left"
        return found

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        return self._built(state, self._config)

    def load_saved(self, folder: Path) -> nn.Module:
        from transformers import AutoConfig

        config = opened(AutoConfig, folder, label=f"the model that {self.name!r} saved")
        return self._built(read_state_dict(folder / "model.safetensors"), config)

    def save(self, model: nn.Module, folder: Path) -> None:
        own, base = model.state_dict(), self.state_dict(BASE)
        write_state_dict(folder / "model.safetensors", {name: own[name] for name in base}, metadata={"format": "pt"})
        model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
        self.tokenizer.save_pretrained(folder)
        if self._generation.is_file():
            shutil.copyfile(self._generation, folder / _GENERATION)

    def _own(self, name: str) -> nn.Module:
        self.check_name(name)
        config = base = self._config
        if name != BASE and (self._models_of.folder(name) / _CONFIG).is_file():
            config = deepcopy(self._checked(name))
            for field in _OF_THE_BASE:
                setattr(config, field, getattr(base, field))
        return self._built(self.state_dict(name), config)

    def _built(self, state: Mapping[str, Tensor], config: Any) -> nn.Module:
        from transformers import AutoModelForCausalLM, GenerationConfig

        base, where, label = self.state_dict(BASE), f"the base of {self.name!r}", self._models_of.label(BASE)
        model = undrawn(AutoModelForCausalLM, config, label=label, dtype=self._type)
        untie_as_stored(model, base)
        check_whole(model, base, where=where)
        load_into(model, state, expected=base, where=where)
        if self._generation.is_file():
            model.generation_config = opened(GenerationConfig, self._generation.parent, label=label)
        return model.eval()

    @property
    def _generation(self) -> Path:
        return self._models_of.folder(BASE) / _GENERATION

    @cached_property
    def _config(self) -> Any:
        return self._checked(BASE)

    def _checked(self, name: str) -> Any:
        """A model's configuration, if it is a decoder's."""
        from transformers import MODEL_FOR_MASKED_LM_MAPPING

        config, label = self._configuration(name), self._models_of.label(name)
        if config.is_encoder_decoder:
            raise FusionBenchError(
                f"{label} is of type {config.model_type!r}, which has an encoder beside its decoder",
                hint="type: hf_seq2seq is for T5, BART and the like",
            )
        if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
            raise FusionBenchError(
                f"{label} is of type {config.model_type!r}, an encoder, which does not go on with a text",
                hint="hf_causal_lm is for Llama, Gemma, Qwen2, Mistral, GPT-2 and the like",
            )
        return config

    @cached_property
    def _type(self) -> torch.dtype:
        """That which holds all weights of the base."""
        specs = self._models_of.checkpoint(BASE).specs.values()
        return reduce(torch.promote_types, {spec.dtype for spec in specs if spec.dtype.is_floating_point})

    @cached_property
    def _outline(self) -> nn.Module:
        from transformers import AutoModelForCausalLM

        return meta_built(AutoModelForCausalLM, self._config, label=self._models_of.label(BASE))

    def _part(self, checkpoint: Checkpoint) -> dict[str, str]:
        """All tensors, each once, as the whole model calls them: GPT-2 was published without what is around it."""
        prefix = f"{self._outline.base_model_prefix}."
        inside = tuple(f"{name}." for name, _ in self._outline.get_submodule(prefix[:-1]).named_children())
        around = any(name.startswith(prefix) for name in checkpoint.specs)
        names = {s if around or not s.startswith(inside) else prefix + s: s for s in checkpoint.specs}
        names = {name: stored for name, stored in names.items() if not is_left_over(name, self._outline)}
        once = distinct_names(renamed(checkpoint, names), shared_names(self._outline))
        return {name: names[called] for name, called in once.items()}
