"""Do checkpoints come from the same base? What distances between weights can say of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fusion_bench.analysis.deltas import Array, blocks, counted, for_each, matrices, mean_pair, named
from fusion_bench.analysis.geometry import cosines
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.state_dict import StateDict

UNRELATED = float(np.sqrt(2.0))
"""The distance of vectors at a right angle, and so, nearly, of networks trained apart."""


@dataclass(frozen=True)
class Kinship:
    """How near n models are to each of m candidates.

    Attributes:
        models, candidates: names.
        distance: (n, m), in [0, 2]; see `kinship`.
        cosine: (n, m), of the weights themselves.
        offset: (m,), the mean cosine between θ_i − b_j and θ_k − b_j over all pairs of models that differ from the
            candidate; 0 where there is no pair.
    """

    models: tuple[str, ...]
    candidates: tuple[str, ...]
    distance: Array
    cosine: Array
    offset: Array

    def nearest(self) -> dict[str, str]:
        """The candidate of the smallest distance to each model, itself left out; ties go to the first."""
        found = {}
        for i, model in enumerate(self.models):
            order = [j for j in np.argsort(self.distance[i], kind="stable") if self.candidates[j] != model]
            if order:
                found[model] = self.candidates[order[0]]
        return found

    def related(self, *, below: float = 1.0) -> Array:
        """(n, m), bool as 0 or 1: whether a distance is below a bound, far enough from `UNRELATED` to be no chance."""
        return (self.distance < below).astype(float)


def kinship(models: Mapping[str, StateDict], candidates: Mapping[str, StateDict]) -> Kinship:
    """d(θ, b) = ‖θ − b‖ / sqrt((‖θ‖² + ‖b‖²) / 2) over the matrices of the models, and what goes with it.

    Symmetric, 0 for equal weights and √2 for weights at a right angle, whatever their norms; 0 where both are zero.
    Matrices only (`deltas.matrices`): the gains of normalisation layers start at one in every network and would make
    strangers look akin. A model without any matrix is compared over all tensors that count.

    What it can show: networks with independent initialisations are nearly orthogonal in so many dimensions, so a
    distance well below √2 means shared weights, by fine-tuning one from the other or both from a third. The base of a
    set of experts is the candidate nearest to all of them whose `offset` is near 0: seen from the common ancestor,
    experts leave in directions of their own; seen from any other model they share the way to the ancestor, and the
    cosine rises: to about ½ from one of them, towards 1 from a stranger.

    What it cannot show: which of two models came first, since the distance is symmetric. That the nearest candidate is
    the parent: a model trained on all tasks may be nearer to an expert than to the base of both. That models are *not*
    akin: long training, pruning, a permutation of hidden units or a change of scale moves weights apart and may leave
    the function as it was. Shared data or distillation, which leave no trace in these numbers.

    Args:
        models: θ_i by name.
        candidates: b_j by name; a model may be among them (its distance to itself is 0).

    Raises:
        FusionBenchError: none of either; models that do not fit each other; numbers that are not finite.

    Example:
        >>> import torch
        >>> base, stranger = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 3.0], [-3.0, 0.0]])
        >>> found = kinship({"a": {"w": base + 0.1}}, {"base": {"w": base}, "stranger": {"w": stranger}})
        >>> found.distance.round(2).tolist(), found.nearest()
        ([[0.05, 1.41]], {'a': 'base'})
    """
    if not models or not candidates:
        raise FusionBenchError("kinship needs a model and a candidate", hint="state dicts by name, of either")
    label, first = next(iter(candidates.items()))
    everyone = [(f"candidate {name}", state) for name, state in candidates.items()]
    everyone += [(f"model {name}", state) for name, state in models.items()]
    named(first, dict(everyone), label=f"candidate {label}")
    tensors = list(matrices(first)) or counted(first)
    n = len(models)
    states = [*models.values(), *candidates.values()]
    found = for_each(lambda name: _sums(states, n, name), tensors)
    squares, products, seen_from = (np.sum([parts[i] for parts in found], axis=0) for i in range(3))
    gaps = np.stack([np.diag(inner) for inner in seen_from], axis=1)
    scale = np.add.outer(squares[:n], squares[n:]) / 2
    lengths = np.sqrt(np.outer(squares[:n], squares[n:]))
    return Kinship(
        tuple(models),
        tuple(candidates),
        distance=np.sqrt(np.divide(gaps, scale, out=np.zeros_like(gaps), where=scale > 0)),
        cosine=np.clip(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0), -1, 1),
        offset=np.array([_offset(found) for found in seen_from]),
    )


def _sums(states: list[StateDict], n: int, name: str) -> tuple[Array, Array, Array]:
    """Of a tensor: ‖θ‖² of every state; ⟨θ, b⟩ of the first n with the rest; and ⟨θ_i − b, θ_k − b⟩ for each b."""
    m = len(states) - n
    squares, products, seen_from = np.zeros(n + m), np.zeros((n, m)), np.zeros((m, n, n))
    for part in blocks(states, name):
        ours, theirs = part[:n], part[n:]
        squares += np.einsum("ij,ij->i", part, part)
        products += ours @ theirs.T
        for j, candidate in enumerate(theirs):
            deltas = ours - candidate  # and not ‖a‖² − 2⟨a, b⟩ + ‖b‖², in which a small difference drowns
            seen_from[j] += deltas @ deltas.T
    return squares, products, seen_from


def _offset(products: Array) -> float:
    """The mean cosine of the pairs of vectors that are not zero."""
    moved = np.diag(products) > 0
    return mean_pair(cosines(products[np.ix_(moved, moved)]))


def shuffled(state: StateDict, *, seed: int = 0) -> dict[str, Tensor]:
    """A stranger to measure against: the same entries in every floating tensor, in an order drawn at random.

    Args:
        seed: of the draw, which depends on the tensor's position in ``state`` and its size, and on nothing else.

    Example:
        >>> import torch
        >>> found = shuffled({"w": torch.arange(5.0)}, seed=0)["w"]
        >>> sorted(found.tolist()), found.tolist() != [0.0, 1.0, 2.0, 3.0, 4.0]
        ([0.0, 1.0, 2.0, 3.0, 4.0], True)
    """
    found = {}
    for number, (name, tensor) in enumerate(state.items()):
        if tensor.is_floating_point():
            order = np.random.default_rng([seed, number]).permutation(tensor.numel())
            found[name] = tensor.detach().reshape(-1)[order].reshape(tensor.shape)
        else:
            found[name] = tensor
    return found
