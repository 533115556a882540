"""Inputs for speed measurements: eight experts of ViT-B/32's vision tower, a sharded 7B, 100,000 small tensors.

usage: python bench/speed/generate.py FOLDER [vit|llama7b|small|large]...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fusion_bench.weights.header import Spec, make_header

EXPERTS = 8


def vit_shapes() -> dict[str, tuple[int, ...]]:
    """CLIP-ViT-B/32's vision tower: 87 M parameters in 199 tensors."""
    root = "vision_model."
    shapes: dict[str, tuple[int, ...]] = {
        f"{root}embeddings.class_embedding": (768,),
        f"{root}embeddings.patch_embedding.weight": (768, 3, 32, 32),
        f"{root}embeddings.position_embedding.weight": (50, 768),
    }
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes |= {f"{root}{norm}.weight": (768,), f"{root}{norm}.bias": (768,)}
    for layer in range(12):
        block = f"{root}encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{block}self_attn.{name}.weight": (768, 768), f"{block}self_attn.{name}.bias": (768,)}
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{block}{name}.weight": (768,), f"{block}{name}.bias": (768,)}
        shapes |= {f"{block}mlp.fc1.weight": (3072, 768), f"{block}mlp.fc1.bias": (3072,)}
        shapes |= {f"{block}mlp.fc2.weight": (768, 3072), f"{block}mlp.fc2.bias": (768,)}
    return shapes


def models(folder: Path, shapes: dict[str, tuple[int, ...]], *, experts: int = EXPERTS) -> None:
    """``base.safetensors`` and ``e0.safetensors`` … : fine-tuned weights differ from the base by about 5 %."""
    folder.mkdir(parents=True, exist_ok=True)
    g = torch.Generator().manual_seed(0)
    base = {name: 0.02 * torch.randn(shape, generator=g) for name, shape in shapes.items()}
    save_file(base, folder / "base.safetensors", metadata={"format": "pt"})
    for number in range(experts):
        g = torch.Generator().manual_seed(number + 1)
        state = {name: t + 0.001 * torch.randn(t.shape, generator=g) for name, t in base.items()}
        save_file(state, folder / f"e{number}.safetensors", metadata={"format": "pt"})


def llama7b(folder: Path, *, experts: int = 2) -> None:
    """A 7-billion-parameter Llama's shapes in bfloat16, sharded like it, as sparse files: all zeros, no disk used."""
    shapes = {"model.embed_tokens.weight": (32000, 4096), "lm_head.weight": (32000, 4096), "model.norm.weight": (4096,)}
    for layer in range(32):
        block = f"model.layers.{layer}."
        shapes |= {f"{block}self_attn.{n}_proj.weight": (4096, 4096) for n in "qkvo"}
        shapes |= {f"{block}mlp.{n}_proj.weight": (11008, 4096) for n in ("gate", "up")}
        shapes |= {f"{block}mlp.down_proj.weight": (4096, 11008)}
        shapes |= {f"{block}{n}_layernorm.weight": (4096,) for n in ("input", "post_attention")}
    names = list(shapes)
    for model in ("base", *(f"e{i}" for i in range(experts))):
        (folder / model).mkdir(parents=True, exist_ok=True)
        where = {}
        for number in range(3):
            file = f"model-{number + 1:05}-of-00003.safetensors"
            part = [n for i, n in enumerate(names) if i * 3 // len(names) == number]
            header = make_header([(n, Spec(shapes[n], torch.bfloat16)) for n in part], {"format": "pt"})
            with (folder / model / file).open("wb") as out:
                out.write(len(header.raw).to_bytes(8, "little") + header.raw)
                os.ftruncate(out.fileno(), header.size)
            where |= dict.fromkeys(part, file)
        (folder / model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def main() -> None:
    """Make what is named, or the ViTs."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or ["vit"]
    if "vit" in wanted:
        models(folder / "vit", vit_shapes())
    if "small" in wanted:  # the same bytes as many small tensors and as one large one
        models(folder / "small", {f"t{i}": (100,) for i in range(100_000)}, experts=4)
        models(folder / "large", {"t": (10_000_000,)}, experts=4)
    if "llama7b" in wanted:
        llama7b(folder / "llama7b")


if __name__ == "__main__":
    main()
