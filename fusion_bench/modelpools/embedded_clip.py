"""A small CLIP and its experts from one folder with a manifest: the pool that ships with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fusion_bench.datasets.manifest import Manifest
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import BASE, MULTITASK
from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.weights import check_compatible, check_finite, read_state_dict, write_state_dict

PREFIX = "visual."


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    path: str


class EmbeddedClip(ImagePool):
    """The pool in ``path``: ``manifest.json``, ``model.json``, ``vocabulary.txt``, ``models/*.safetensors``.

    ``models/base.safetensors`` is the whole CLIP; every other file an image tower (its keys start with ``visual.``),
    named after the task it was tuned for; ``multitask`` is the joint model. Every file is verified on loading.

    Args:
        name: of the pool.
        path: a folder, or ``package://clip_mini``.
    """

    def __init__(self, name: str, path: str) -> None:
        options = _Options(name=name, path=path)
        self.name = options.name
        self._manifest = Manifest.read(options.path)
        stems = [Path(f).stem for f in self._manifest.files if f.startswith("models/") and f.endswith(".safetensors")]
        self.expert_names = tuple(sorted(s for s in stems if s not in (BASE, MULTITASK)))
        self._has_multitask = MULTITASK in stems
        self._states: dict[str, dict[str, Tensor]] = {}
        self.image_size = int(self.config["image_size"])
        self.mean, self.std = tuple(self.config["mean"]), tuple(self.config["std"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of ``model.json``."""
        path = self._manifest.path("model.json")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("architecture", "image_size", "mean", "std"):
            if key not in content:
                raise FusionBenchError(f"{path} lacks {key!r}", hint="see fusion_bench/assets/clip_mini/model.json")
        return content

    @property
    def has_multitask(self) -> bool:
        return self._has_multitask

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        if name not in self._states:
            path = self._manifest.path(f"models/{name}.safetensors")
            state = read_state_dict(path, prefix=PREFIX)
            check_finite(state, name=str(path))
            if name != BASE:
                check_compatible(self.state_dict(BASE), state, name=str(path), base_name=f"the base of {self.name}")
            self._states[name] = state
        return self._states[name]

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        from fusion_bench.models.clip import build_image_tower

        architecture = self.config["architecture"]
        tower = build_image_tower(architecture["vision_cfg"], int(architecture["embed_dim"]))
        check_compatible(self.state_dict(BASE), state, name="the state dict", base_name=f"the base of {self.name}")
        tower.load_state_dict({key.removeprefix(PREFIX): value for key, value in state.items()})
        return tower.eval()

    @cached_property
    def _clip(self) -> tuple[Any, Any]:
        from fusion_bench.models.clip import WordTokenizer, build_clip

        clip = build_clip(self.config)
        path = self._manifest.path("models/base.safetensors")
        state = read_state_dict(path)
        check_compatible(clip.state_dict(), state, name=str(path), base_name="model.json")
        clip.load_state_dict(state)
        tokenizer = WordTokenizer.from_file(self._manifest.path("vocabulary.txt"), clip.context_length)
        return clip.eval().requires_grad_(False), tokenizer

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        clip, tokenizer = self._clip
        return F.normalize(clip.encode_text(tokenizer(list(prompts))), dim=-1).clone()

    @property
    def logit_scale(self) -> float:
        return float(self._clip[0].logit_scale.exp())

    def content_hash(self) -> str:
        return self._manifest.digest

    def text_hash(self) -> str:
        files = ("models/base.safetensors", "model.json", "vocabulary.txt")
        return " ".join(self._manifest.sum(file) for file in files)

    def save(self, model: nn.Module, folder: Path) -> None:
        state = {f"{PREFIX}{key}": value for key, value in model.state_dict().items()}
        write_state_dict(folder / "model.safetensors", state)
        (folder / "config.json").write_text(json.dumps({"pool": self.name, **self.config}, indent=1) + "\n")

    def load_saved(self, folder: Path) -> nn.Module:
        """The model that `save` wrote."""
        return self.build(read_state_dict(folder / "model.safetensors"))
