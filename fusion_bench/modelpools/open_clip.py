"""CLIP of open_clip: a base in the hub's layout, and fine-tuned image towers as state dicts."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.datasets.sizing import Sizing
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.architecture import check_whole
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, hollow, load_into
from fusion_bench.modelpools.hub_pool import HubPool
from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.weights import write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch

CONFIG, PREFIX = "open_clip_config.json", "visual."
_AROUND = ("", "model.", "module.", "image_encoder.", "image_encoder.model.", "module.model.")
"""What is around a tower in state dicts of it."""
_RESAMPLE = ("bicubic", "bilinear")


class ImageTower(nn.Module):
    """open_clip's image tower under the name that whole models have it."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, d)``."""
        features: Tensor = self.visual(images)
        return features


class OpenClip(HubPool, ImagePool):
    """A pool in open_clip's format, for instance the fine-tuned towers of the task-vector papers.

    Only the image tower (``visual.*``, its projection among it) is fused; text tower and tokenizer are the base's.
    Numbers differ from those of transformers' checkpoints of the same name, which were fine-tuned by others.

    Args:
        name: of the pool.
        base: a folder or a repository of the hub (see ``hub.Source``) with ``open_clip_config.json``, as open_clip's
            ``push_to_hf_hub`` and ``save_for_hf`` write it. Where weights of other libraries lie beside open_clip's,
            say which are meant: ``{id: …, weights: open_clip_model.safetensors}``.
        experts: by task, state dicts of a tower or of a whole model, names with or without what was around it
            (``model.``, ``module.``). A module that was pickled whole holds code and is refused: save its
            ``state_dict()``.
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
        self._open(HubModels(name, base, experts, multitask, part=_tower, on_mismatch=on_mismatch))

    @cached_property
    def _said(self) -> dict[str, Any]:
        """The content of the base's configuration."""
        label, path = self._models_of.label(BASE), self._models_of.folder(BASE) / CONFIG
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            model, pictures = content["model_cfg"], content["preprocess_cfg"]
            _ = (
                model["embed_dim"],
                model["vision_cfg"]["image_size"],
                model["text_cfg"],
                pictures["mean"],
                pictures["std"],
            )
        except FileNotFoundError:
            raise FusionBenchError(
                f"{label} has no {CONFIG}", hint="save the base with open_clip.push_to_hf_hub.save_for_hf"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FusionBenchError(f"{CONFIG} of {label} cannot be read: {error!r}") from error
        wanted = [part for part in ("vision_cfg", "text_cfg") if model[part].get("hf_model_name")]
        if wanted:
            raise FusionBenchError(
                f"{label} takes its {wanted[0]} from another repository, {model[wanted[0]]['hf_model_name']!r}",
                hint="open_clip is for models that are whole in themselves",
            )
        return content

    @cached_property
    def _clip(self) -> Any:
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

        label, said = self._models_of.label(BASE), self._said["model_cfg"]
        kind = CustomTextCLIP if said.get("custom_text") else CLIP
        try:
            clip = kind(
                said["embed_dim"],
                CLIPVisionCfg(**said["vision_cfg"]),
                CLIPTextCfg(**said["text_cfg"]),
                quick_gelu=bool(said.get("quick_gelu", False)),
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise FusionBenchError(f"open_clip cannot build what {CONFIG} of {label} says: {error}") from error
        whole = self._models_of.all_of(BASE)
        own = clip.state_dict()
        check_whole(clip, {name for name in whole if name in own}, where=label)
        for name in own:
            if name in whole:
                own[name].copy_(whole[name])
        return clip.eval().requires_grad_(False)

    @cached_property
    def _hollow(self) -> ImageTower:
        """A tower without the values of what is fused."""
        tower, base = ImageTower(copy.deepcopy(self._clip.visual)), self.state_dict(BASE)
        check_whole(tower, base, where=f"the base of {self.name!r}")
        hollow(tower, base)
        return tower

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        model = copy.deepcopy(self._hollow)
        load_into(model, state, expected=self.state_dict(BASE), where=f"the base of {self.name!r}")
        return model.eval()

    @property
    def sizing(self) -> Sizing:
        """How pictures get their size."""
        said = self._said["preprocess_cfg"]
        mode, resample = said.get("resize_mode", "shortest"), said.get("interpolation", "bicubic")
        if mode not in ("shortest", "squash") or resample not in _RESAMPLE:
            raise FusionBenchError(
                f"{CONFIG} of {self._models_of.label(BASE)} resizes by {mode!r} and {resample!r}",
                hint=f"known are shortest and squash, {' and '.join(_RESAMPLE)}",
            )
        return Sizing(self.image_size, resample=resample, warped=mode == "squash")

    @property
    def image_size(self) -> int:  # type: ignore[override]  # read, never set
        """Pixels of a side."""
        size = self._said["model_cfg"]["vision_cfg"]["image_size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        """What is taken from pixels of 0 to 1, a number a channel; ``std`` is what they are divided by then."""
        return tuple(map(float, self._said["preprocess_cfg"]["mean"]))

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(map(float, self._said["preprocess_cfg"]["std"]))

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        from open_clip.tokenizer import SimpleTokenizer

        tokens = SimpleTokenizer()(list(prompts), context_length=self._clip.context_length)
        return F.normalize(self._clip.encode_text(tokens), dim=-1).clone()

    @property
    def logit_scale(self) -> float:
        return float(self._clip.logit_scale.exp())

    def text_hash(self) -> str:
        return self._models_of.base_hash()

    def save(self, model: nn.Module, folder: Path) -> None:
        write_state_dict(folder / "model.safetensors", model.state_dict(), metadata={"format": "pt"})
        shutil.copyfile(self._models_of.folder(BASE) / CONFIG, folder / CONFIG)


def _tower(checkpoint: Checkpoint) -> dict[str, str]:
    """The image tower's tensors, whatever was around them when they were saved."""
    for around in _AROUND:
        names = {name.removeprefix(around): name for name in checkpoint.specs if name.startswith(around + PREFIX)}
        if names:
            return names
    alone = "conv1.weight" in checkpoint.specs  # a tower by itself
    return {PREFIX + name: name for name in checkpoint.specs} if alone else {}
