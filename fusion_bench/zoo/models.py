"""The stages that make the weights: text head, experts, joint model, all rounded to the half precision they ship in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_bench.progress import Progress, silent
from fusion_bench.zoo.corpus import Corpus
from fusion_bench.zoo.finetune import accuracy, features_of, fine_tune
from fusion_bench.zoo.package import write_weights
from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.recipe import PIXELS, Recipe
from fusion_bench.zoo.stages import Stages
from fusion_bench.zoo.tasks import BY_NAME
from fusion_bench.zoo.text import align_text, text_head, vocabulary_of

Splits = Mapping[str, Mapping[str, Pictures]]

#: How often a batch of the text stage is drawn from each domain of the corpus; the tasks share the rest.
_TEXT_MIXTURE = {
    "icon": 0.3,
    "glyph": 0.1,
    "clipart": 0.05,
    "chinese": 0.05,
    "kana": 0.03,
    "hangul": 0.05,
    "latin": 0.07,
}


def model_config(recipe: Recipe, vocabulary_size: int) -> dict[str, Any]:
    """The pool's ``model.json``."""
    text = {"context_length": 12, "vocab_size": vocabulary_size, "width": 128, "heads": 4, "layers": 2}
    architecture = {"embed_dim": recipe.tower.embed_dim, "vision_cfg": recipe.tower.vision_cfg(), "text_cfg": text}
    return {
        "name": recipe.name,
        "architecture": architecture,
        "image_size": 32,
        "mean": [PIXELS[0]] * 3,
        "std": [PIXELS[1]] * 3,
    }


def prompts(task: str, classes: tuple[str, ...]) -> list[list[str]]:
    """For each class its wordings."""
    return [[template.format(name) for template in BY_NAME[task].templates] for name in classes]


def make_base(stages: Stages, recipe: Recipe, corpus: Corpus, splits: Splits, progress: Progress) -> Path:
    """The whole CLIP: pretrained image tower, text tower aligned to it; ``models/base.safetensors`` and its files."""
    from fusion_bench.models.clip import WordTokenizer, build_clip

    def make(out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        wordings = [prompts(task, parts["shots"].classes) for task, parts in splits.items()]
        said = [text for task in wordings for of_class in task for text in of_class]
        words = vocabulary_of(corpus.captions.tolist(), always=said)
        (out / "vocabulary.txt").write_text("\n".join(words) + "\n")
        tokenizer = WordTokenizer.from_file(out / "vocabulary.txt", context_length=12)
        config = model_config(recipe, tokenizer.vocab_size)
        torch.manual_seed(recipe.seed)
        clip = build_clip(config)
        saved = torch.load(stages.folder / "pretraining" / "checkpoint.pt", weights_only=True)["model"]
        tower = {k.removeprefix("tower."): v.half().float() for k, v in saved.items() if k.startswith("tower.")}
        clip.visual.load_state_dict(tower)
        features, tokens, domains = _captioned(clip.visual, tokenizer, corpus, splits)
        weights = dict(_TEXT_MIXTURE) | {f"task:{task}": 0.35 / len(splits) for task in splits}
        align_text(
            clip,
            features,
            tokens,
            domains,
            steps=recipe.text_steps,
            seed=recipe.seed,
            weights=weights,
            progress=progress,
        )
        (out / "model.json").write_text(json.dumps(config, indent=1) + "\n")
        write_weights(out / "models" / "base.safetensors", clip.state_dict())

    return stages.run("base", make)


def _captioned(tower: nn.Module, tokenizer: Any, corpus: Corpus, splits: Splits) -> tuple[Tensor, Tensor, np.ndarray]:
    captions = [
        [caption, f"an icon of {caption}"] if domain == "icon" else [caption, caption]
        for caption, domain in zip(corpus.captions.tolist(), corpus.domains.tolist(), strict=True)
    ]
    images, domains = [corpus.images], corpus.domains.tolist()
    for task, parts in splits.items():
        wordings = prompts(task, parts["shots"].classes)
        captions += [wordings[label][:2] for label in parts["shots"].labels.tolist()]
        domains += [f"task:{task}"] * len(parts["shots"])
        images.append(parts["shots"].images)
    features = torch.cat([features_of(tower, part) for part in images]).clone()
    flat = tokenizer([text for pair in captions for text in pair])
    return features, flat.view(len(captions), 2, -1), np.array(domains)


def load_base(folder: Path) -> tuple[Any, Any]:
    """The shipped base in single precision, and its tokenizer."""
    from safetensors.torch import load_file

    from fusion_bench.models.clip import WordTokenizer, build_clip

    clip = build_clip(json.loads((folder / "model.json").read_text()))
    clip.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(folder / "models" / "base.safetensors").items()
        }
    )
    return clip.eval(), WordTokenizer.from_file(folder / "vocabulary.txt", context_length=12)


def make_heads(base: Path, splits: Splits) -> tuple[dict[str, Tensor], float]:
    clip, tokenizer = load_base(base)
    heads = {
        task: text_head(clip, tokenizer, parts["validation"].classes, BY_NAME[task].templates).clone()
        for task, parts in splits.items()
    }
    return heads, float(clip.logit_scale.detach().exp())


def make_expert(work: Path, name: str, recipe: Recipe, splits: Splits, progress: Progress = silent) -> dict[str, float]:
    """Fine-tune and write one expert, or ``multitask``; returns its validation accuracies."""
    torch.set_num_threads(1)
    heads, scale = make_heads(work / "base", splits)
    clip, _ = load_base(work / "base")
    tasks = list(splits) if name == "multitask" else [name]
    settings = recipe.fine_tuning
    steps = round(settings.steps * (settings.multitask if name == "multitask" else 1))
    training = {task: splits[task]["train"] for task in tasks}
    tower = fine_tune(
        clip.visual, training, heads, scale, settings, recipe.seed, steps=steps, progress=progress, stage=name
    )
    write_weights(work / "experts" / f"{name}.safetensors", {f"visual.{k}": v for k, v in tower.state_dict().items()})
    return {task: accuracy(tower, splits[task]["validation"], heads[task]) for task in tasks}


def make_experts(stages: Stages, recipe: Recipe, splits: Splits, progress: Progress) -> None:
    """All experts and the joint model, ``recipe.workers`` at a time, the longest first."""
    names = [n for n in ["multitask", *splits] if not (stages.folder / "experts" / f"{n}.safetensors").exists()]
    done = len(splits) + 1 - len(names)
    if recipe.workers == 1:
        for name in names:
            _report(stages, name, make_expert(stages.folder, name, recipe, splits, progress))
        return
    with ProcessPoolExecutor(recipe.workers) as pool:
        futures = {n: pool.submit(make_expert, stages.folder, n, recipe, _needed(n, splits)) for n in names}
        for name, future in sorted(futures.items(), key=lambda item: item[0] == "multitask"):
            _report(stages, name, future.result())
            done += 1
            progress("experts", done, len(splits) + 1)


def _needed(name: str, splits: Splits) -> Splits:
    """What a worker must be sent."""
    tasks = list(splits) if name == "multitask" else [name]
    return {task: {part: splits[task][part] for part in ("train", "validation")} for task in tasks}


def _report(stages: Stages, name: str, found: Mapping[str, float]) -> None:
    stages.console.print(
        f"{name}: validation " + ", ".join(f"{task} {value:.1%}" for task, value in found.items()), highlight=False
    )
