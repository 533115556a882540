"""Image classifiers of transformers, ConvNeXt, ResNet, DINOv2, ViT: backbones are fused, heads stay with tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.modelpools.architecture import is_left_over, meta_built
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.classifier import ImageClassifierPool
from fusion_bench.modelpools.hub_models import HubModels
from fusion_bench.modelpools.hub_pool import HubPicturePool
from fusion_bench.weights import check_finite, open_checkpoint
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch, fit

HEAD = "classifier"
_OF_HEAD = f"{HEAD}."
_VARIANCE = ".running_var"


class Features(nn.Module):
    """A classifier of transformers whose head was taken off: images to what the head is given."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone = classifier
        setattr(classifier, HEAD, nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to features, ``(n, d)`` or ``(n, d, 1, 1)`` as the architecture has it."""
        features: Tensor = self.backbone(pixel_values=images).logits
        return features


class HfImageClassifier(HubPicturePool, ImageClassifierPool):  # type: ignore[override]  # as in HfClip
    """A pool of classifiers that share a backbone's architecture, whatever their numbers of classes.

    All but ``classifier.*`` is fused. For task *t* every model, the base too, is seen through the head of expert *t*.
    Pictures are prepared as the base's ``preprocessor_config.json`` says.

    Statistics of batch normalisation: ``running_mean`` and ``running_var`` are tensors like any other, fused as the
    method fuses weights, so an average of experts has the averages of theirs; no picture is looked at to estimate them
    anew. A variance that extrapolation brings below 0 counts as 0. ``num_batches_tracked``, a counter that evaluation
    does not read, is the base's.

    Args:
        name: of the pool.
        base: the pretrained model: a folder or a repository of the hub (see ``hub.Source``). Its own head is not used.
        experts: by task, classifiers fine-tuned from it, with their heads.
        on_mismatch: what is done about a tensor that does not fit; see ``weights.fitting``.
    """

    def __init__(self, name: str, base: Any, experts: dict[str, Any], on_mismatch: OnMismatch = "error") -> None:
        self._open(HubModels(name, base, experts, part=self._backbone_part, on_mismatch=on_mismatch))
        self._heads: dict[str, nn.Module] = {}

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        where = f"the base of {self.name!r}"
        found = open_checkpoint(state, label="the state dict")
        fit(found, open_checkpoint(self.state_dict(BASE), label=where))
        tensors = {name: _own(name, found[name]) for name in found}
        check_finite(tensors, name=where)
        kind: Any = type(self._outline)
        with _quiet():  # its own loading: files keep names that modules no longer have
            model, report = kind.from_pretrained(
                None,
                config=self._configuration(BASE),
                state_dict=tensors,
                dtype=torch.float32,
                output_loading_info=True,
            )
        wrong = [*sorted(report["unexpected_keys"]), *(n for n in report["missing_keys"] if not n.startswith(_OF_HEAD))]
        if wrong:
            raise FusionBenchError(
                f"{where}: {wrong[0]!r} is in its weights and not in its configuration, or the other way round",
                hint="config.json and the weights are not of one model",
            )
        return Features(model).eval()

    def _outline_of(self, name: str) -> nn.Module:
        """A model's modules and names, without values."""
        from transformers import AutoModelForImageClassification

        label = self._models_of.label(name)
        found = meta_built(AutoModelForImageClassification, self._configuration(name), label=label)
        if not isinstance(getattr(found, HEAD, None), nn.Module):
            raise FusionBenchError(
                f"{label} is a {type(found).__name__}, which has no module {HEAD!r}",
                hint=f"pool {self.name!r} tells heads from backbones by that name",
            )
        return found

    @cached_property
    def _outline(self) -> nn.Module:
        return self._outline_of(BASE)

    def _backbone_part(self, checkpoint: Checkpoint) -> dict[str, str]:
        """All but the head, by the names of a whole classifier; a bare backbone is stored without its prefix."""
        prefix = f"{self._outline.base_model_prefix}."
        bare = not any(stored.startswith(prefix) for stored in checkpoint.specs)
        names = {f"{prefix}{stored}" if bare else stored: stored for stored in checkpoint.specs}
        unwanted = tuple(f"{start}{HEAD}." for start in ("", prefix))
        return {
            name: stored
            for name, stored in names.items()
            if not name.startswith(unwanted) and not is_left_over(name, self._outline)
        }

    def head(self, task: str) -> nn.Module:
        if task not in self._heads:
            self._heads[task] = self._open_head(task)
        return self._heads[task]

    def _open_head(self, task: str) -> nn.Module:
        self._check_task(task)
        label = self._models_of.label(task)
        head: nn.Module = getattr(self._outline_of(task), HEAD)
        stored = open_checkpoint(self._models_of.folder(task), label=label)
        found: dict[str, Tensor] = {}
        for name, wanted in head.state_dict().items():
            full = f"{HEAD}.{name}"
            if full not in stored:
                raise FusionBenchError(
                    f"{label} has no head: no tensor {full!r}",
                    hint="it should be a whole classifier, saved with save_pretrained",
                )
            if stored.specs[full].shape != tuple(wanted.shape):
                raise FusionBenchError(
                    f"{label}: {full!r} is of shape {tuple(stored.specs[full].shape)}, and its config.json says "
                    f"{tuple(wanted.shape)}",
                    hint="num_labels (id2label) in config.json belongs to another head",
                )
            found[name] = stored[full].float()
        stored.close()
        if not found:
            raise FusionBenchError(f"{label} has no head: its config.json has no labels")
        head.load_state_dict(found, assign=True)
        return head.requires_grad_(False).eval()

    def head_labels(self, task: str) -> tuple[str, ...]:
        self._check_task(task)
        labels = self._configuration(task).id2label
        return tuple(str(labels[index]) for index in sorted(labels))

    def _check_task(self, task: str) -> None:
        if task not in self.expert_names:
            error = unknown_name("task", task, self.expert_names, where=f"the heads of pool {self.name!r}")
            raise FusionBenchError(error.message, hint=f"{error.hint}. A task is seen through its expert's head")

    def fresh(self, labels: Sequence[str]) -> nn.Module:
        """A whole classifier that starts as the base, with a new head for these classes: to be trained."""
        from transformers import AutoModelForImageClassification

        names = dict(enumerate(labels))
        with _quiet():
            found: nn.Module = AutoModelForImageClassification.from_pretrained(
                self._models_of.folder(BASE),
                id2label=names,
                label2id={name: label for label, name in names.items()},
                ignore_mismatched_sizes=True,  # of the head, which is another
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
            )
        return found

    def save(self, model: nn.Module, folder: Path) -> None:
        """The backbone, which transformers opens with a new head; the tasks' heads are where they were."""
        inner: Any = model.backbone
        with _quiet():
            inner.save_pretrained(folder, max_shard_size="1000GB")  # one file, whatever its size


def _own(name: str, tensor: Tensor) -> Tensor:
    """A copy, as float32 if it floats; variances at least 0."""
    if not tensor.is_floating_point():
        return tensor.clone()
    copied = tensor.to(torch.float32, copy=True)
    return copied.clamp_(min=0) if name.endswith(_VARIANCE) else copied


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars, and without its table of the head that is missing on purpose."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
