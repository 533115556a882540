"""Dilated ResNets with a DeepLab head a task, as multi-task learning on NYUv2 has them: encoders are fused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.dense import DensePredictorPool
from fusion_bench.modelpools.hub_models import HubModels, load_into
from fusion_bench.modelpools.hub_pool import HubPool
from fusion_bench.weights import check_finite, write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch

Encoder = Literal["resnet50", "resnet101", "resnet152"]
_AROUND = ("encoder.", "model.encoder.", "")  # what is before an encoder's names: of whole models, of backbones
_OF_HEADS = ("decoders.", "model.decoders.")
_NO_ENCODER = ("fc.", "metrics.")  # a classifier's head, counters of a training run
_WIDTH = 2048  # channels of an encoder's maps
_COUNTER = ".num_batches_tracked"
_OUT, _IN = "4.weight", "0.convs.0.0.weight"  # of a DeepLab head: its last layer, and one of its first


class Layers(BaseModel):
    """An encoder that has no name: blocks of each of the four stages, and the width of their middle convolutions."""

    model_config = ConfigDict(extra="forbid")
    layers: tuple[int, int, int, int]
    groups: int = Field(default=1, ge=1)
    width_per_group: int = Field(default=64, ge=1)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    encoder: Encoder | Layers
    rates: tuple[int, ...] = Field(min_length=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class DilatedEncoder(nn.Module):
    """A ResNet without pooling and classifier; stages 3 and 4 dilate instead of striding, so that maps are ⅛ as wide.

    Source: Yu, Koltun and Funkhouser 2017, arXiv 1705.09914. Names are torchvision's.
    """

    def __init__(self, options: Layers) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        whole = ResNet(
            Bottleneck,
            list(options.layers),
            groups=options.groups,
            width_per_group=options.width_per_group,
            replace_stride_with_dilation=[False, True, True],
        )
        for name, part in whole.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, part)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.num_batches_tracked = None  # a counter that evaluation does not read, and old files lack

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 2048, h/8, w/8)``."""
        found = images
        for part in self.children():
            found = part(found)
        return found


class DenseResnet(HubPool, DensePredictorPool):
    """A pool of dilated ResNets, each expert with a DeepLab head for its task.

    A checkpoint holds ``encoder.*`` and ``decoders.<task>.*`` (of Lightning too, read with ``weights_only``), or a
    ResNet of torchvision or timm alone: what a base may be. Only the encoder is fused; for task *t* every model, the
    base too, is seen through the head of expert *t*. Running statistics of batch normalisation are fused like weights
    (see ``hf_image_classifier``).

    Args:
        name: of the pool.
        base: the pretrained encoder: a folder, a file or a repository of the hub (see ``hub.Source``).
        experts: by task, encoder and head that were tuned from it.
        encoder: ``resnet50``, ``resnet101``, ``resnet152``, or ``{layers: [3, 4, 6, 3], width_per_group: 64}``.
        rates: dilations of the head's branches.
        mean, std: how pixels of 0 to 1 are standardised; published NYUv2 models take them as they are.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``.
    """

    def __init__(
        self,
        name: str,
        base: Any,
        experts: dict[str, Any],
        encoder: Any = "resnet50",
        rates: tuple[int, ...] = (12, 24, 36),
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        on_mismatch: OnMismatch = "error",
    ) -> None:
        options = _Options(encoder=encoder, rates=rates, mean=mean, std=std)
        self._layers, self._rates = _layers(options.encoder), options.rates
        self.mean, self.std = options.mean, options.std
        self._open(HubModels(name, base, experts, part=self._encoder_part, on_mismatch=on_mismatch))
        self._heads: dict[str, nn.Module] = {}

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        model, where = DilatedEncoder(self._layers), f"the base of {self.name!r}"
        lost = next((name for name in model.state_dict() if name not in self.state_dict(BASE)), None)
        if lost is not None:
            raise FusionBenchError(
                f"{where} has no tensor {lost!r}, which its encoder {self._layers.layers} has",
                hint="encoder: names another ResNet than the weights are of",
            )
        load_into(model, state, expected=self.state_dict(BASE), where=where)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d) and part.running_var is not None:
                part.running_var.clamp_(min=0)  # extrapolation can bring a variance below what one can be
        return model.requires_grad_(False).eval()

    @cached_property
    def _names(self) -> frozenset[str]:
        with torch.device("meta"):
            return frozenset(DilatedEncoder(self._layers).state_dict())

    def _encoder_part(self, checkpoint: Checkpoint) -> dict[str, str]:
        for around in _AROUND:
            inside = {name.removeprefix(around): name for name in checkpoint.specs if name.startswith(around)}
            if not any(name in self._names for name in inside):
                continue
            others = () if around else (*_OF_HEADS, *_NO_ENCODER)
            strange = [
                name
                for name in inside
                if name not in self._names and not name.startswith(others) and not name.endswith(_COUNTER)
            ]
            if strange:
                raise FusionBenchError(
                    f"{checkpoint.label} has a tensor {strange[0]!r} that an encoder {self._layers.layers} has not",
                    hint="encoder: names another ResNet than the weights are of",
                )
            return {name: stored for name, stored in inside.items() if name in self._names}
        return {}

    def head(self, task: str) -> nn.Module:
        if task not in self._heads:
            self._heads[task] = self._open_head(task)
        return self._heads[task]

    def channels(self, task: str) -> int:
        checkpoint, around = self._stored_head(task)
        return int(checkpoint.specs[around + _OUT].shape[0])

    def _stored_head(self, task: str) -> tuple[Checkpoint, str]:
        if task not in self.expert_names:
            error = unknown_name("task", task, self.expert_names, where=f"the heads of pool {self.name!r}")
            raise FusionBenchError(error.message, hint=f"{error.hint}. A task is seen through its expert's head")
        checkpoint = self._models_of.all_of(task)
        for start in _OF_HEADS:
            if f"{start}{task}.{_OUT}" in checkpoint.specs and f"{start}{task}.{_IN}" in checkpoint.specs:
                return checkpoint, f"{start}{task}."
        raise FusionBenchError(
            f"{self._models_of.label(task)} has no head: no tensor 'decoders.{task}.{_OUT}'",
            hint=f"it should hold encoder.* and decoders.{task}.*, a DeepLab head",
        )

    def _open_head(self, task: str) -> nn.Module:
        from torchvision.models.segmentation.deeplabv3 import DeepLabHead

        checkpoint, around = self._stored_head(task)
        out, width = checkpoint.specs[around + _OUT].shape[0], checkpoint.specs[around + _IN].shape[1]
        with torch.device("meta"):
            head = DeepLabHead(width, out, self._rates)
        found: dict[str, Tensor] = {}
        for name, wanted in head.state_dict().items():
            if name.endswith(_COUNTER):
                found[name] = torch.tensor(0)
                continue
            stored = checkpoint.specs.get(around + name)
            if stored is None or stored.shape != tuple(wanted.shape):
                has = "lacks" if stored is None else f"has, of shape {stored.shape}, "
                raise FusionBenchError(
                    f"{self._models_of.label(task)} {has} {around + name!r}, {tuple(wanted.shape)} in a DeepLab head "
                    f"with the dilations {', '.join(map(str, self._rates))}",
                    hint="rates: the dilations that the heads were trained with",
                )
            found[name] = checkpoint[around + name].float()
        check_finite(found, name=f"the head of {self._models_of.label(task)}")
        head.load_state_dict(found, assign=True)
        return head.requires_grad_(False).eval()

    def fresh_head(self, channels: int) -> nn.Module:
        """A head with random weights, for an expert that is to be trained."""
        from torchvision.models.segmentation.deeplabv3 import DeepLabHead

        found: nn.Module = DeepLabHead(_WIDTH, channels, self._rates)
        return found

    def save(self, model: nn.Module, folder: Path) -> None:
        """The encoder; the tasks' heads are where they were."""
        write_state_dict(folder / "model.safetensors", model.state_dict(), metadata={"format": "pt"})


def _layers(encoder: Encoder | Layers) -> Layers:
    named = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
    return encoder if isinstance(encoder, Layers) else Layers(layers=named[encoder])
