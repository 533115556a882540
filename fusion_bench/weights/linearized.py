"""Partially linearised LoRA (L-LoRA): what its file holds, and the low-rank difference that it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError

_TRAINED = re.compile(r"^(?P<layer>.+)\.model\.lora_(?P<side>[AB])\.(?P<adapter>[^.]+)\.weight$")
_INITIAL = re.compile(r"^(?P<layer>.+)\.params0_values\.(?P<place>\d+)$")
_AGAIN = "the file is damaged or not whole: write it again from the training's checkpoint"


def tangent(a: Tensor, b: Tensor, a0: Tensor, b0: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of a LoRA layer that is linearised around its initial values.

    A LoRA layer computes W·x + s·B·A·x. Expanded to first order in (A, B) around (A₀, B₀), and evaluated at (A, B), it
    is still linear in x, with the weight

        W + s·(B₀·A₀ + (B − B₀)·A₀ + B₀·(A − A₀)) = W + s·[B, B₀]·[A₀; A − A₀].

    PEFT starts at B₀ = 0: then the second half is left out, and what A has learned with it, as the layer does too.

    Args:
        a, a0: ``(r, in)``, trained and initial; further dimensions may follow, as a convolution's do.
        b, b0: ``(out, r)``, likewise.

    Returns:
        left ``(out, r)`` and right ``(r, in)``; ``(out, 2r)`` and ``(2r, in)``, of which the right one is ``float64``,
        where B₀ is not zero. Their product times s is the difference to W.

    Source:
        Tang, Shen, Luo, Zhan, Hu, Du, Chen and Tao 2024, Parameter-Efficient Multi-Task Model Fusion with Partial
        Linearization, arXiv 2310.04742.

    Example:
        >>> import torch
        >>> a, b, a0 = torch.tensor([[5.0]]), torch.tensor([[3.0]]), torch.tensor([[2.0]])
        >>> left, right = tangent(a, b, a0, b0=torch.zeros(1, 1))
        >>> left @ right
        tensor([[6.]])
        >>> left, right = tangent(a, b, a0, b0=torch.ones(1, 1))
        >>> left.double() @ right  # 3·2 + 1·(5 − 2)
        tensor([[9.]], dtype=torch.float64)
    """
    if not b0.any():
        return b, a0
    return torch.cat([b, b0], dim=1), torch.cat([a0.double(), a.double() - a0.double()])


def linearized_layers(stored: Mapping[str, Tensor], label: str) -> dict[str, dict[str, Tensor]]:
    """The trained and initial factors of each layer of a file of linearised LoRA layers.

    Such a file has, per layer, ``<layer>.model.lora_A.<adapter>.weight`` and ``lora_B`` as trained, and under
    ``<layer>.params0_values.<i>`` their initial values, i being the place of the parameter among all of the layer's:
    A before B, after the weight, and the bias where there is one.

    Args:
        stored: the file's tensors.
        label: how messages call it.

    Returns:
        By layer, ``A``, ``B``, ``A0`` and ``B0``.

    Raises:
        FusionBenchError: a tensor of another name, more than one adapter, a layer that lacks a factor or an initial
            value, initial values of other shapes than the trained ones.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2, 3), torch.ones(4, 2)
        >>> stored = {"q.model.lora_A.default.weight": a, "q.model.lora_B.default.weight": b}
        >>> layers = linearized_layers({**stored, "q.params0_values.1": a, "q.params0_values.2": b}, "mine")
        >>> {layer: sorted(found) for layer, found in layers.items()}
        {'q': ['A', 'A0', 'B', 'B0']}
    """
    trained: dict[str, dict[str, str]] = defaultdict(dict)
    initial: dict[str, dict[int, str]] = defaultdict(dict)
    adapters = set()
    for key in stored:
        if found := _TRAINED.match(key):
            trained[found["layer"]][found["side"]] = key
            adapters.add(found["adapter"])
        elif found := _INITIAL.match(key):
            initial[found["layer"]][int(found["place"])] = key
        else:
            raise FusionBenchError(
                f"{label}: {key!r} is no part of a linearised LoRA layer",
                hint="expected <layer>.model.lora_A.<adapter>.weight, lora_B likewise, and <layer>.params0_values.<i>; "
                "layers that train more than these two are not supported",
            )
    if len(adapters) > 1:
        raise FusionBenchError(
            f"{label} holds {len(adapters)} adapters: {', '.join(sorted(adapters))}", hint="give each its own folder"
        )
    layers = sorted({*trained, *initial})
    return {layer: _layer(layer, trained[layer], initial[layer], stored, label) for layer in layers}


def _layer(
    layer: str, trained: Mapping[str, str], initial: Mapping[int, str], stored: Mapping[str, Tensor], label: str
) -> dict[str, Tensor]:
    for side in "AB":
        if side not in trained:
            raise FusionBenchError(f"{label}: {layer} has no trained lora_{side}", hint=_AGAIN)
    if len(initial) != 2:
        places = ", ".join(f"params0_values.{place}" for place in sorted(initial)) or "none"
        raise FusionBenchError(
            f"{label}: {layer} has not two initial values, of lora_A and lora_B: {places}", hint=_AGAIN
        )
    factors = {}
    for side, place in zip("AB", sorted(initial), strict=True):
        value, start = stored[trained[side]], stored[initial[place]]
        if value.shape != start.shape:
            raise FusionBenchError(
                f"{label}: lora_{side} {tuple(value.shape)} of {layer} does not pair with params0_values.{place} "
                f"{tuple(start.shape)}",
                hint=f"the initial values follow the layer's own order, lora_A before lora_B; {_AGAIN}",
            )
        factors[side], factors[f"{side}0"] = value, start
    return factors
