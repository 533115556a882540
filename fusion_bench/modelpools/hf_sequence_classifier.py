"""Sequence classifiers of transformers, GPT-2, RoBERTa and the like: backbones are fused, heads stay with tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.modelpools.architecture import built, check_whole, is_left_over, meta_built
from fusion_bench.modelpools.base import BASE
from fusion_bench.modelpools.hub_models import HubModels, load_into
from fusion_bench.modelpools.hub_pool import HubTextPool
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.weights import open_checkpoint, write_state_dict
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.fitting import OnMismatch
from fusion_bench.weights.weight_files import ADAPTER

_RENAMED = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # as BERT was saved at first


class Head:
    """Transformers' own model around a backbone that it is lent: pooling and head are those of its class.

    Args:
        around: a sequence classifier whose backbone was taken out.
        prefix: where that was.
    """

    def __init__(self, around: nn.Module, prefix: str) -> None:
        self._around, self._prefix = around, prefix

    def __call__(self, backbone: nn.Module, tokens: Mapping[str, Tensor]) -> Tensor:
        """Class scores ``(n, classes)``; ``(n, 1)`` of a regression."""
        around = self._around.to(next(iter(tokens.values())).device)
        setattr(around, self._prefix, backbone)
        try:
            scores: Tensor = around(**tokens).logits
        finally:
            setattr(around, self._prefix, None)  # a head keeps no model alive
        return scores


class HfSequenceClassifier(HubTextPool, ClassifierPool):
    """A pool of classifiers that share a backbone's architecture.

    Only the backbone is fused. A model of the pool is a backbone; for task *t* it is looked at through the head of
    expert *t*, the base too. Tokenizer and backbone's configuration are the base's; what pads is its padding token,
    else its end token, and the heads are told so: GPT-2 reads the last token before the padding.

    Args:
        name: of the pool.
        base: the pretrained model: a folder or a repository of the hub (see ``hub.Source``). Its own head is not used.
        experts: by task, classifiers fine-tuned from it, with their heads; one of a single label gives a number
            (transformers' regression). (Adapters do not fit: their heads have no counterpart in the base. Merge them
            into their base with peft first.)
        multitask: a backbone trained on all tasks.
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
        self._open(HubModels(name, base, experts, multitask, part=self._backbone_part, on_mismatch=on_mismatch))
        self._heads: dict[str, Head] = {}

    def state_dict(self, name: str) -> Mapping[str, Tensor]:
        self.check_name(name)
        self._refuse_adapter(name)
        return self._models_of.checkpoint(name)

    def _refuse_adapter(self, name: str) -> None:
        if (self._models_of.folder(name) / ADAPTER).is_file():
            raise FusionBenchError(
                f"{self._models_of.label(name)} is an adapter, and pool {self.name!r} needs classifiers with heads",
                hint="merge it into its base with peft (merge_and_unload), and give that model",
            )

    def build(self, state: Mapping[str, Tensor]) -> nn.Module:
        from transformers import AutoModelForSequenceClassification

        base, where = self.state_dict(BASE), f"the base of {self.name!r}"
        whole = built(AutoModelForSequenceClassification, self._config, label=self._models_of.label(BASE))
        backbone = whole.get_submodule(self._prefix)
        check_whole(backbone, base, where=where)
        load_into(backbone, state, expected=base, where=where)
        return backbone.eval()

    @cached_property
    def _config(self) -> Any:
        return self._configuration(BASE)

    def _outline_of(self, name: str) -> nn.Module:
        from transformers import AutoModelForSequenceClassification

        config = self._config if name == BASE else self._configuration(name)
        return meta_built(AutoModelForSequenceClassification, config, label=self._models_of.label(name))

    @cached_property
    def _outline(self) -> nn.Module:
        return self._outline_of(BASE)

    @property
    def _prefix(self) -> str:
        return str(self._outline.base_model_prefix)

    def _backbone_part(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The backbone's tensors, stored with the name of the model around it or without."""
        backbone, prefix = self._outline.get_submodule(self._prefix), f"{self._prefix}."
        around = any(stored.startswith(prefix) for stored in checkpoint.specs)
        parts = tuple(f"{name}." for name, _ in backbone.named_children())
        names = {}
        for stored in checkpoint.specs:
            name = stored.removeprefix(prefix)
            for old, new in _RENAMED.items():
                name = name.replace(old, new)
            inside = stored.startswith(prefix) or not around
            if inside and name.startswith(parts) and not is_left_over(name, backbone):
                names[name] = stored
        return names

    def head(self, task: str) -> Head:
        if task not in self._heads:
            self._heads[task] = self._open_head(task)
        return self._heads[task]

    def _open_head(self, task: str) -> Head:
        self._check_task(task)
        prefix, around = self._prefix, self._outline_of(task)
        wanted = [name for name in around.state_dict() if not name.startswith(f"{prefix}.")]
        folder, label = self._models_of.folder(task), self._models_of.label(task)
        stored = open_checkpoint(folder, label=label)
        lacking = [name for name in wanted if name not in stored]
        tensors = {name: stored[name].float() for name in wanted if name in stored}
        stored.close()
        if lacking:
            raise FusionBenchError(
                f"{label} has no head: no tensor {lacking[0]!r}",
                hint=f"it should be a whole {type(around).__name__}, saved with save_pretrained",
            )
        shapes = {name: tuple(tensor.shape) for name, tensor in around.state_dict().items()}
        for name, tensor in tensors.items():
            if tuple(tensor.shape) != shapes[name]:
                raise FusionBenchError(
                    f"{label}: its head's {name!r} is of shape {tuple(tensor.shape)}, and its config.json says "
                    f"{shapes[name]}",
                    hint="num_labels (id2label) in config.json belongs to another head",
                )
        setattr(around, prefix, None)
        around.load_state_dict(tensors, assign=True)
        around.config.pad_token_id = self._tokenizer.pad_token_id  # type: ignore[union-attr]
        return Head(around.requires_grad_(False).eval(), prefix)

    def head_size(self, task: str) -> int:
        self._check_task(task)
        self._refuse_adapter(task)
        return int(self._configuration(task).num_labels)

    def head_labels(self, task: str) -> tuple[str, ...]:
        self._check_task(task)
        labels = self._configuration(task).id2label
        named = tuple(str(labels[index]) for index in sorted(labels))
        return () if named == tuple(f"LABEL_{index}" for index in range(len(named))) else named

    def _check_task(self, task: str) -> None:
        if task not in self.expert_names:
            error = unknown_name("task", task, self.expert_names, where=f"the heads of pool {self.name!r}")
            raise FusionBenchError(error.message, hint=f"{error.hint}. A task is seen through its expert's head")

    def tokens(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Mapping[str, Tensor]:
        found = self._encoded(texts) if pairs is None else self._encoded(texts, pairs)
        return {key: torch.as_tensor(value) for key, value in found.items()}

    def content_hash(self) -> str:
        for name in self._models_of.sources:
            self._refuse_adapter(name)
        return self._models_of.content_hash()

    def save(self, model: nn.Module, folder: Path) -> None:
        """The backbone alone: the heads are where they were, in the experts' folders."""
        write_state_dict(folder / "model.safetensors", dict(model.state_dict()), metadata={"format": "pt"})
        self._config.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)
