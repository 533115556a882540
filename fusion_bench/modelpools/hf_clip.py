"""CLIP of transformers: a base and fine-tuned vision towers, from folders or from the hub."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.architecture import check_whole, opened
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, hollow, load_into
from fusion_bench.modelpools.hub_pool import HubPicturePool
from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.weights import read_state_dict, write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch

PREFIX, PROJECTION = "vision_model.", "visual_projection.weight"


class VisionTower(nn.Module):
    """transformers' vision model with its projection: images to features, as one module."""

    def __init__(self, config: Any, projection: Tensor) -> None:
        from transformers import CLIPVisionModelWithProjection

        super().__init__()
        self.tower = CLIPVisionModelWithProjection(config)
        with torch.no_grad():
            self.tower.visual_projection.weight.copy_(projection)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, d)``."""
        features: Tensor = self.tower(pixel_values=images).image_embeds
        return features


class HfClip(HubPicturePool, ImagePool):  # type: ignore[override]  # sizes and means are read, never set
    """A pool in transformers' format.

    Only the vision model (``vision_model.*``) is fused; projection, text tower and tokenizer are the base's.

    Args:
        name: of the pool.
        base: a ``CLIPModel``: a folder or a repository of the hub (see ``hub.Source``).
        experts: by task, a ``CLIPVisionModel``, a ``CLIPModel``, or a PEFT adapter of the vision model.
        multitask: the same, trained on all tasks.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        experts: dict[str, Any],
        multitask: Any = None,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        self._open(
            HubModels(name, base, experts, multitask, part=_vision_part, lone=_lone_part, on_mismatch=on_mismatch)
        )

    @cached_property
    def _config(self) -> Any:
        from transformers import CLIPConfig

        label, folder = self._models_of.label(BASE), self._models_of.folder(BASE)
        if not (folder / "config.json").is_file():
            raise FusionBenchError(f"{label} has no config.json", hint="save the whole CLIPModel with save_pretrained")
        return opened(CLIPConfig, folder, label=label)

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        model = copy.deepcopy(self._hollow)
        load_into(model.tower, state, expected=self.state_dict(BASE), where=f"the base of {self.name!r}")
        return model.eval()

    @cached_property
    def _hollow(self) -> VisionTower:
        """A tower with the projection and without the values of what is fused."""
        from transformers import CLIPVisionConfig

        config = CLIPVisionConfig(
            **{**self._config.vision_config.to_dict(), "projection_dim": self._config.projection_dim}
        )
        model, base = VisionTower(config, self._clip.visual_projection.weight), self.state_dict(BASE)
        check_whole(model.tower, {*base, PROJECTION}, where=f"the base of {self.name!r}")
        hollow(model.tower, base)
        return model

    @cached_property
    def _clip(self) -> Any:
        from transformers import CLIPModel

        config = self._config
        try:
            return CLIPModel.from_pretrained(self._models_of.folder(BASE), config=config).eval().requires_grad_(False)
        except (OSError, ValueError, RuntimeError) as error:
            raise FusionBenchError(f"cannot open the base {self._models_of.label(BASE)}: {error}") from error

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        tokens = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        output = self._clip.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(self._clip.text_projection(output.pooler_output), dim=-1).clone()

    @property
    def logit_scale(self) -> float:
        return float(self._clip.logit_scale.exp())

    def text_hash(self) -> str:
        return self._models_of.base_hash()

    def save(self, model: nn.Module, folder: Path) -> None:
        state = {k.removeprefix("tower."): v for k, v in model.state_dict().items()}
        write_state_dict(folder / "model.safetensors", state, metadata={"format": "pt"})
        model.tower.config.save_pretrained(folder)  # type: ignore[union-attr, operator]

    def load_saved(self, folder: Path) -> nn.Module:
        """The model that `save` wrote."""
        state = read_state_dict(folder / "model.safetensors")
        return self.build({k: v for k, v in state.items() if k.startswith(PREFIX)})


def _vision_part(checkpoint: Checkpoint) -> dict[str, str]:
    """The vision model's tensors under one naming.

    transformers 5 saves a lone vision model without the prefix; an id table that old versions saved, new ones compute.
    """
    lone = "embeddings.patch_embedding.weight" in checkpoint.specs
    names = {f"{PREFIX}{stored}" if lone else stored: stored for stored in checkpoint.specs}
    unwanted = f"{PREFIX}embeddings.position_ids"
    return {name: stored for name, stored in names.items() if name.startswith(PREFIX) and name != unwanted}


def _lone_part(checkpoint: Checkpoint) -> dict[str, str]:
    """The same as transformers 5 names it in a vision model of its own."""
    return {name.removeprefix(PREFIX): stored for name, stored in _vision_part(checkpoint).items()}
