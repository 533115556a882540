"""Partially linearised LoRA as it is trained and published: each layer of peft to first order around its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call, jvp


class FirstOrder(nn.Module):
    """f(x; θ₀) + J·(θ − θ₀) of a layer f; J, its derivative by the trainable parameters, comes from torch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.model = layer
        self.start = {name: value.detach().clone() for name, value in layer.named_parameters()}

    def forward(self, x: Tensor) -> Tensor:
        moving = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        start = {name: self.start[name] for name in moving}
        steps = {name: value - start[name] for name, value in moving.items()}
        value, change = jvp(lambda point: functional_call(self.model, point, (x,)), (start,), (steps,))
        total: Tensor = value + change
        return total


def linearized(adapted: Any) -> dict[str, FirstOrder]:
    """Put a `FirstOrder` in the place of every LoRA layer of a peft model, and give them by their paths."""
    from peft.tuners.lora import LoraLayer

    found = {path: module for path, module in adapted.named_modules() if isinstance(module, LoraLayer)}
    layers = {path: FirstOrder(module) for path, module in found.items()}
    for path, layer in layers.items():
        parent, _, name = path.rpartition(".")
        setattr(adapted.get_submodule(parent), name, layer)
    return layers


def train(adapted: Any, inputs: Tensor, *, steps: int = 3) -> None:
    """Adam towards random outputs, and a random step on top: what B₀ = 0 gives no gradient moves too."""
    trained = [value for value in adapted.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05)
    output = _output(adapted(inputs))
    wanted = torch.randn(output.shape, dtype=output.dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        (_output(adapted(inputs)) - wanted).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        for value in trained:
            value += 0.2 * torch.randn(value.shape, dtype=value.dtype)


def write(adapted: Any, layers: dict[str, FirstOrder], folder: Path) -> Path:
    """The folder of a published one: of what is trained, the values and, by their places, the initial values."""
    adapted.peft_config["default"].save_pretrained(folder)
    tensors = {}
    for path, layer in layers.items():
        for place, (name, value) in enumerate(layer.model.named_parameters()):
            if value.requires_grad:
                tensors[f"{path}.model.{name}"] = value.detach().clone()
                tensors[f"{path}.params0_values.{place}"] = layer.start[name].clone()
    save_file(tensors, folder / "linearized_adapter_model.safetensors")
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n")
    return folder


def _output(found: Any) -> Tensor:
    output: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return output
