"""Encoder-decoder language models of transformers, T5 and the like: the whole model is fused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.architecture import (
    built,
    check_whole,
    distinct_names,
    is_left_over,
    meta_built,
    shared_names,
    untie_as_stored,
)
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, load_into
from fusion_bench.modelpools.hub_pool import HubTextPool
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.weights import write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch


class HfSeq2Seq(HubTextPool, Seq2SeqPool):
    """A pool of encoder-decoders, for instance Flan-T5 (Chung et al. 2022, arXiv 2210.11416).

    A tensor that the base stores under several names is fused once; an output head that it keeps apart from its
    embedding stays apart, whatever transformers' default for the architecture is. Tokenizer and configuration are the
    base's.

    Args:
        name: of the pool.
        base: a folder or a repository of the hub (see ``hub.Source``).
        experts: by task, whole models or PEFT adapters of the base.
        multitask: the same, trained on all tasks.
        max_tokens: of an example; what is longer is cut.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        experts: dict[str, Any],
        multitask: Any = None,
        max_tokens: int = 512,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        self._limit(max_tokens)
        self._open(HubModels(name, base, experts, multitask, part=self._part, on_mismatch=on_mismatch))

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        from transformers import AutoModelForSeq2SeqLM

        base, where = self.state_dict(BASE), f"the base of {self.name!r}"
        model = built(AutoModelForSeq2SeqLM, self._config, label=self._models_of.label(BASE))
        untie_as_stored(model, base)
        check_whole(model, base, where=where)
        load_into(model, state, expected=base, where=where)
        return model.eval()

    @cached_property
    def _config(self) -> Any:
        config = self._configuration(BASE)
        if not config.is_encoder_decoder:
            label = self._models_of.label(BASE)
            raise FusionBenchError(
                f"{label} is of type {config.model_type!r}, which has no encoder beside its decoder",
                hint="hf_seq2seq is for T5, BART and the like",
            )
        return config

    @cached_property
    def _outline(self) -> nn.Module:
        from transformers import AutoModelForSeq2SeqLM

        return meta_built(AutoModelForSeq2SeqLM, self._config, label=self._models_of.label(BASE))

    @cached_property
    def _apart(self) -> frozenset[str]:
        """The output head, where the base's configuration says, in so many words, that it is not the embedding."""
        written = json.loads((self._models_of.folder(BASE) / "config.json").read_text(encoding="utf-8"))
        head = self._outline.get_output_embeddings()  # type: ignore[operator]
        if written.get("tie_word_embeddings", True) or head is None:
            return frozenset()
        return frozenset(f"{name}.weight" for name, module in self._outline.named_modules() if module is head)

    def _part(self, checkpoint: Checkpoint) -> dict[str, str]:
        names = distinct_names(checkpoint, shared_names(self._outline), apart=self._apart)
        return {name: stored for name, stored in names.items() if not is_left_over(stored, self._outline)}

    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        found = self._encoded(texts)
        return {key: found[key] for key in ("input_ids", "attention_mask")}

    def targets(self, answers: Sequence[str]) -> list[list[int]]:
        with self._tokenizing:
            ids = self._tokenizer(text_target=list(answers))["input_ids"]
        return [list(map(int, one)) for one in ids]

    def words(self, written: Tensor) -> list[str]:
        with self._tokenizing:
            return list(self._tokenizer.batch_decode(written, skip_special_tokens=True))

    def save(self, model: nn.Module, folder: Path) -> None:
        own, base = model.state_dict(), self.state_dict(BASE)
        write_state_dict(folder / "model.safetensors", {name: own[name] for name in base}, metadata={"format": "pt"})
        self._config.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)
