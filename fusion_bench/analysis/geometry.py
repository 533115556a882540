"""Angles and lengths of task vectors, over the whole model and by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.analysis.deltas import Array, by_layer, counted, delta_blocks, for_each, layer_of, mean_pair, named
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.state_dict import Experts, StateDict


@dataclass(frozen=True)
class Cosines:
    """Cosines between n task vectors.

    Attributes:
        names: of the experts, in the order of rows and columns.
        whole: (n, n), of the task vectors as they are.
        layers: (n, n) for each layer, of what the task vectors hold there.
    """

    names: tuple[str, ...]
    whole: Array
    layers: dict[str, Array]

    @property
    def mean(self) -> float:
        """Over all pairs of different experts; 0 where there is one expert."""
        return mean_pair(self.whole)


@dataclass(frozen=True)
class Norms:
    """Lengths of n task vectors.

    Attributes:
        names: of the experts.
        whole: ‖Δ_i‖₂, (n,).
        base: ‖θ_0‖₂.
        layers: ‖Δ_i‖₂ within each layer, (n,).
        base_layers: ‖θ_0‖₂ within each layer.
    """

    names: tuple[str, ...]
    whole: Array
    base: float
    layers: dict[str, Array]
    base_layers: dict[str, float]

    @property
    def relative(self) -> Array:
        """‖Δ_i‖ / ‖θ_0‖, (n,).

        Raises:
            FusionBenchError: the base is zero everywhere.
        """
        if not self.base:
            raise FusionBenchError("every weight of the base is zero: no norm is relative to that")
        return self.whole / self.base

    @property
    def relative_layers(self) -> dict[str, Array]:
        """The same within each layer; a layer in which the base is zero everywhere is left out."""
        return {layer: self.layers[layer] / base for layer, base in self.base_layers.items() if base}


def cosine_matrix(
    base: StateDict, experts: Experts | Sequence[StateDict], *, layer: Callable[[str], str] = layer_of
) -> Cosines:
    """cos(Δ_i, Δ_j) = ⟨Δ_i, Δ_j⟩ / (‖Δ_i‖ ‖Δ_j‖), in [−1, 1].

    A task vector that is zero has no direction: its row and column are 0, the diagonal among them; every other entry of
    the diagonal is 1. That the task vectors of different tasks are nearly orthogonal is the observation of Ilharco et
    al. 2023, "Editing models with task arithmetic", arXiv 2212.04089.

    Args:
        base: θ_0.
        experts: θ_i; a sequence gets its positions as names.
        layer: the layer of a tensor's name.

    Raises:
        FusionBenchError: see `deltas.named`.

    Example:
        >>> import torch
        >>> base = {"w": torch.zeros(2)}
        >>> found = cosine_matrix(base, {"a": {"w": torch.tensor([2.0, 0.0])}, "b": {"w": torch.tensor([0.0, -3.0])}})
        >>> found.names, found.whole.tolist()
        (('a', 'b'), [[1.0, 0.0], [0.0, 1.0]])
    """
    states = named(base, experts)

    def products_of(name: str) -> Array:
        return sum((d @ d.T for _, d in delta_blocks(base, states, name)), start=np.zeros((len(states),) * 2))

    tensors = counted(base)
    products = by_layer(dict(zip(tensors, for_each(products_of, tensors), strict=True)), layer)
    return Cosines(
        tuple(states), cosines(sum(products.values(), start=np.zeros(()))), {k: cosines(v) for k, v in products.items()}
    )


def task_vector_norms(
    base: StateDict, experts: Experts | Sequence[StateDict], *, layer: Callable[[str], str] = layer_of
) -> Norms:
    """‖Δ_i‖₂ of every expert, over the model and within each layer, beside ‖θ_0‖₂.

    Args, errors: as `cosine_matrix`. A task vector that is zero has the norm 0.

    Example:
        >>> import torch
        >>> found = task_vector_norms({"w": torch.tensor([0.0, 5.0])}, [{"w": torch.tensor([3.0, 9.0])}])
        >>> found.whole.tolist(), found.relative.tolist()
        ([5.0], [1.0])
    """
    states = named(base, experts)

    def squares_of(name: str) -> Array:
        # each row with itself: the same sums whoever the other experts are
        parts = ([float(row @ row) for row in (own, *d)] for own, d in delta_blocks(base, states, name))
        return np.sum(list(parts), axis=0)

    tensors = counted(base)
    squares = by_layer(dict(zip(tensors, for_each(squares_of, tensors), strict=True)), layer)
    lengths = {key: np.sqrt(value) for key, value in squares.items()}
    total = np.sqrt(sum(squares.values(), start=np.zeros(())))
    return Norms(
        tuple(states),
        total[1:],
        float(total[0]),
        {key: value[1:] for key, value in lengths.items()},
        {key: float(value[0]) for key, value in lengths.items()},
    )


def cosines(products: Array) -> Array:
    """Cosines from inner products, (n, n); a vector whose own product is 0 has the cosine 0 with all, itself included.

    Example:
        >>> cosines(np.array([[4.0, 1.0], [1.0, 1.0]])).tolist(), cosines(np.zeros((1, 1))).tolist()
        ([[1.0, 0.5], [0.5, 1.0]], [[0.0]])
    """
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    found = np.clip(np.divide(products, scale, out=np.zeros_like(products), where=scale > 0), -1.0, 1.0)
    np.fill_diagonal(found, lengths > 0)
    return found
