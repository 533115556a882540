"""CLIP of transformers: a base and fine-tuned vision towers, from folders or from the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import BASE, MULTITASK, ModelPool
from fusion_bench.weights import check_compatible, check_finite, read_state_dict, write_state_dict

PREFIX = "vision_model."
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    base: str
    experts: dict[str, str] = Field(min_length=1)
    multitask: str | None = None


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


class HfClip(ModelPool):
    """A pool in transformers' format.

    Only the vision model (``vision_model.*``) is fused; projection, text tower and tokenizer are the base's.

    Args:
        name: of the pool.
        base: a ``CLIPModel``: a folder or the id of a hub repository.
        experts: by task, ``CLIPVisionModel`` or ``CLIPModel`` folders or ids.
        multitask: the same, trained on all tasks.
    """

    def __init__(self, name: str, base: str, experts: dict[str, str], multitask: str | None = None) -> None:
        options = _Options(name=name, base=base, experts=experts, multitask=multitask)
        self.name = options.name
        self._sources = {BASE: options.base, **options.experts}
        if options.multitask is not None:
            self._sources[MULTITASK] = options.multitask
        self.expert_names = tuple(options.experts)
        self._states: dict[str, dict[str, Tensor]] = {}
        self._folders: dict[str, Path] = {}

    @property
    def has_multitask(self) -> bool:
        return MULTITASK in self._sources

    @cached_property
    def _preprocessing(self) -> dict[str, Any]:
        path = self._folder(BASE) / "preprocessor_config.json"
        if not path.is_file():
            raise FusionBenchError(f"no {path}", hint="save the base's CLIPImageProcessor beside it")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    @property
    def image_size(self) -> int:  # type: ignore[override]
        crop = self._preprocessing.get("crop_size", self._config.vision_config.image_size)
        return int(crop["height"] if isinstance(crop, dict) else crop)

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(self._preprocessing["image_mean"])

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(self._preprocessing["image_std"])

    @cached_property
    def _config(self) -> Any:
        from transformers import CLIPConfig

        return CLIPConfig.from_pretrained(self._folder(BASE))

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        if name not in self._states:
            state: dict[str, Tensor] = {}
            for path in self._weights(name):
                state |= read_state_dict(path)
            state = _vision_part(state)
            # an id table that old transformers saved and new ones compute
            state.pop(f"{PREFIX}embeddings.position_ids", None)
            where = f"{self._sources[name]} ({name})"
            if not state:
                raise FusionBenchError(f"{where} has no tensor {PREFIX}*", hint="it should be a CLIP vision model")
            check_finite(state, name=where)
            if name != BASE:
                check_compatible(self.state_dict(BASE), state, name=where, base_name=f"the base {self._sources[BASE]}")
            self._states[name] = state
        return self._states[name]

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        from transformers import CLIPVisionConfig

        config = CLIPVisionConfig(
            **{**self._config.vision_config.to_dict(), "projection_dim": self._config.projection_dim}
        )
        model = VisionTower(config, self._clip.visual_projection.weight)
        own = {k: v for k, v in model.tower.state_dict().items() if k.startswith(PREFIX)}
        check_compatible(own, state, name="the state dict", base_name=f"the base {self._sources[BASE]}")
        model.tower.load_state_dict(dict(state), strict=False)  # all but the projection, checked above
        return model.eval()

    @cached_property
    def _clip(self) -> Any:
        from transformers import CLIPModel

        try:
            return CLIPModel.from_pretrained(self._folder(BASE)).eval().requires_grad_(False)
        except (OSError, ValueError, RuntimeError) as error:
            raise FusionBenchError(f"cannot open the base {self._sources[BASE]}: {error}") from error

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder(BASE))

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        tokens = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        output = self._clip.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(self._clip.text_projection(output.pooler_output), dim=-1).clone()

    @property
    def logit_scale(self) -> float:
        return float(self._clip.logit_scale.exp())

    def content_hash(self) -> str:
        sums = {name: [file_sha256(path) for path in self._weights(name)] for name in self._sources}
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()

    def save(self, model: nn.Module, folder: Path) -> None:
        state = {k.removeprefix("tower."): v for k, v in model.state_dict().items()}
        write_state_dict(folder / "model.safetensors", state, metadata={"format": "pt"})
        model.tower.config.save_pretrained(folder)  # type: ignore[union-attr, operator]

    def load_saved(self, folder: Path) -> nn.Module:
        """The model that `save` wrote."""
        state = read_state_dict(folder / "model.safetensors")
        return self.build({k: v for k, v in state.items() if k.startswith(PREFIX)})

    def _weights(self, name: str) -> list[Path]:
        folder = self._folder(name)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            return [folder / file for file in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        single = folder / "model.safetensors"
        if not single.is_file():
            there = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
            raise FusionBenchError(
                f"{self._sources[name]} ({name}) has no model.safetensors", hint=f"it has: {there or 'nothing'}"
            )
        return [single]

    def _folder(self, name: str) -> Path:
        """A local folder as it is; a hub repository from the cache, else fetched."""
        if name not in self._folders:
            source = self._sources[name]
            local = Path(source).expanduser()
            self._folders[name] = local if local.is_dir() else _snapshot(source, name)
        return self._folders[name]


def _vision_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vision model's tensors under one naming: transformers 5 saves a lone vision model without the prefix."""
    if "embeddings.patch_embedding.weight" in state:
        return {f"{PREFIX}{name}": value for name, value in state.items()}
    return {name: value for name, value in state.items() if name.startswith(PREFIX)}


def _snapshot(source: str, name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = list(_FILES)
    try:
        with suppress(LocalEntryNotFoundError):
            return Path(snapshot_download(source, allow_patterns=patterns, local_files_only=True))
        return Path(snapshot_download(source, allow_patterns=patterns))
    except Exception as error:  # the hub's clients raise many kinds; each of them means "not here"
        raise FusionBenchError(
            f"{source!r} ({name}) is neither a folder, nor in the local cache, nor can it be fetched: "
            f"{type(error).__name__}",
            hint=f"on a machine with network: huggingface-cli download {source}",
        ) from error
