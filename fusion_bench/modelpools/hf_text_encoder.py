"""Sentence encoders of transformers: texts to mean-pooled features, compared with those of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion_bench.modelpools.architecture import check_whole
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, load_into
from fusion_bench.modelpools.hub_pool import HubTextPool
from fusion_bench.modelpools.zero_shot import TextPool
from fusion_bench.weights import write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch

_ROOTS = ("bert.", "roberta.", "distilbert.", "electra.", "model.")
# heads that features do not go through; a table of 0, 1, 2, …
_UNUSED = ("pooler.", "cls.", "lm_head.", "classifier.", "vocab_", "embeddings.position_ids")
_PROMPTS = 256


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    logit_scale: float = Field(gt=0, allow_inf_nan=False)


class MeanPooled(nn.Module):
    """An encoder whose features are the mean over a text's tokens (Reimers and Gurevych 2019, arXiv 1908.10084)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """``input_ids`` and ``attention_mask`` ``(n, tokens)`` to features ``(n, d)``."""
        hidden = self.encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)


class HfTextEncoder(HubTextPool, TextPool):
    """A pool of sentence encoders in transformers' format.

    Class names are encoded by the base, which stays as it is; the encoder of the examples is fused.

    Args:
        name: of the pool.
        base: an encoder with its tokenizer: a folder, a repository, or ``python://package/folder`` (``hub.Source``).
        experts: by task, the same or a PEFT adapter of it.
        multitask: trained on all tasks.
        logit_scale: what cosines are multiplied with.
        max_tokens: of a text; what is longer is cut.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        experts: dict[str, Any],
        multitask: Any = None,
        logit_scale: float = 20.0,
        max_tokens: int = 128,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        self._scale = _Options(logit_scale=logit_scale).logit_scale
        self._limit(max_tokens)
        self._open(HubModels(name, base, experts, multitask, part=_encoder_part, on_mismatch=on_mismatch))

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        from transformers import AutoModel

        encoder = AutoModel.from_config(self._config)
        if hasattr(encoder, "pooler"):
            encoder.pooler = None
        base, where = self.state_dict(BASE), f"the base of {self.name!r}"
        check_whole(encoder, base, where=where)
        load_into(encoder, state, expected=base, where=where)
        return MeanPooled(encoder).eval()

    @cached_property
    def _config(self) -> Any:
        return self._configuration(BASE)

    def tokens(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        found = self._encoded(texts)
        return {key: found[key] for key in ("input_ids", "attention_mask")}

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        model = self.model(BASE)
        device = next(model.parameters()).device
        parts = []
        for start in range(0, len(prompts), _PROMPTS):
            tokens = {k: ids.to(device) for k, ids in self.tokens(prompts[start : start + _PROMPTS]).items()}
            parts.append(F.normalize(model(tokens), dim=-1).cpu())
        return torch.cat(parts).clone()

    @property
    def logit_scale(self) -> float:
        return self._scale

    def text_hash(self) -> str:
        return f"{self._models_of.base_hash()}, {self._max_tokens} tokens"

    def save(self, model: nn.Module, folder: Path) -> None:
        state = {k.removeprefix("encoder."): v for k, v in model.state_dict().items()}
        write_state_dict(folder / "model.safetensors", state, metadata={"format": "pt"})
        self._config.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)


def _encoder_part(checkpoint: Checkpoint) -> dict[str, str]:
    """The encoder's tensors, without the name of the model around it."""
    names = {}
    for stored in checkpoint.specs:
        root = next((root for root in _ROOTS if stored.startswith(root)), "")
        name = stored.removeprefix(root)
        if not name.startswith(_UNUSED):
            names[name] = stored
    return names
