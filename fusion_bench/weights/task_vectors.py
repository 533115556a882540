"""The step along a merged task vector."""

from __future__ import annotations

from torch import Tensor

from fusion_bench.weights.engine import stepped
from fusion_bench.weights.state_dict import StateDict, check_finite


def add_task_vector(base: StateDict, vector: StateDict, *, scaling: float) -> dict[str, Tensor]:
    """θ₀ + λ Δ, rounded to the base's types; tensors that Δ has not are carried over.

    An entry that does not move keeps the base's bits.

    Args:
        base: θ₀.
        vector: Δ, a merged task vector (``float64``).
        scaling: λ.

    Raises:
        FusionBenchError: the result overflows the base's type, or is not finite.

    Example:
        >>> import torch
        >>> add_task_vector({"w": torch.ones(2), "n": torch.tensor(3)}, {"w": torch.ones(2).double()}, scaling=0.5)
        {'w': tensor([1.5000, 1.5000]), 'n': tensor(3)}
    """
    merged: dict[str, Tensor] = {}
    for name, tensor in base.items():
        if name in vector:
            stored, _ = stepped(tensor.reshape(-1), vector[name].reshape(-1), scaling, tensor.dtype)
            merged[name] = stored.reshape(tensor.shape)
        else:
            merged[name] = tensor.clone()
    check_finite(merged, name="the merged model")
    return merged
