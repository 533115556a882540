"""Fine-tuning of adapters against a frozen head of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.hub import Source, local
from fusion_bench.modelpools.hf_text_encoder import MeanPooled
from fusion_bench.zoo.minilm.recipe import BASE_FOLDER, TextRecipe
from fusion_bench.zoo.minilm.texts import Texts

Part = tuple[Texts, Sequence[str], Sequence[str]]
"""A training split, its class names and its templates."""


class Encoder:
    """The base, its tokenizer, and heads of class names."""

    def __init__(self, recipe: TextRecipe) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = local(Source.parse(BASE_FOLDER))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.base: Any = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.recipe = recipe

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        found = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.recipe.tokens, return_tensors="pt"
        )
        return {key: found[key] for key in ("input_ids", "attention_mask")}

    @torch.no_grad()
    def head(self, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Unit directions (classes, d) of the frozen base."""
        model = MeanPooled(self.base).eval()
        parts = [F.normalize(model(self.tokens([t.format(c) for c in classes])), dim=-1) for t in templates]
        return F.normalize(torch.stack(parts).mean(dim=0), dim=-1).clone()


def fine_tune(folder: Path, parts: Mapping[str, Part], recipe: TextRecipe, *, steps: int) -> None:
    """Train one adapter on one task, or on several in turn, and save it as peft does."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    encoder = Encoder(recipe)
    heads = {name: encoder.head(classes, templates) for name, (_, classes, templates) in parts.items()}
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION"
    )
    adapted = get_peft_model(encoder.base, config)
    model = MeanPooled(adapted).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps, pct_start=0.1)
    draw, names = np.random.default_rng(recipe.seed), list(parts)
    for step in range(steps):
        name = names[step % len(names)]
        texts = parts[name][0]
        rows = draw.integers(len(texts), size=recipe.batch)
        labels = torch.tensor([texts.labels[row] for row in rows])
        features = F.normalize(model(encoder.tokens([texts.texts[row] for row in rows])), dim=-1)
        loss = F.cross_entropy(recipe.scale * features @ heads[name].T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    _save(adapted, folder)


def _save(adapted: Any, folder: Path) -> None:
    """In half precision, and without the path of this machine."""
    import json

    from safetensors.torch import load_file, save_file

    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_model.safetensors"
    save_file(
        {name: tensor.half() for name, tensor in sorted(load_file(path).items())}, path, metadata={"format": "pt"}
    )
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "sentence-transformers/all-MiniLM-L6-v2"
    config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
