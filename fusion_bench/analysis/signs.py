"""Where experts pull an entry in opposite directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.analysis.deltas import Array, by_layer, counted, delta_blocks, for_each, layer_of, named
from fusion_bench.weights.state_dict import Experts, StateDict


@dataclass(frozen=True)
class Conflict:
    """How much of a model, or of a layer, the experts disagree about. Each number is in [0, 1].

    An entry is *contested* where at least two experts move it, and *in conflict* where at least one moves it up and at
    least one down. Its mass is Σ_i |Δ_i|.

    Attributes:
        share: entries in conflict among those contested; 0 where none is contested.
        weighted: the same of their mass: an entry counts as much as the experts move it.
        cancelled: 1 − Σ_e |Σ_i Δ_i(e)| / Σ_e Σ_i |Δ_i(e)|, over all entries e: the part of all movement that is lost
            when the task vectors are added up. 0 where nothing moves.
    """

    share: float
    weighted: float
    cancelled: float


@dataclass(frozen=True)
class SignConflict:
    """Sign conflicts of n experts.

    Attributes:
        names: of the experts.
        whole: over all entries.
        layers: within each layer.
        pairs: (n, n), among the entries that both of two experts move, the share they move in opposite directions;
            0 where there is none, and on the diagonal. Two vectors of independent random signs have ½.
    """

    names: tuple[str, ...]
    whole: Conflict
    layers: dict[str, Conflict]
    pairs: Array

    @property
    def chance(self) -> float:
        """`whole.share` of independent random signs where all n experts move every entry: 1 − 2^(1−n)."""
        return 1.0 - 2.0 ** (1 - len(self.names))


def sign_conflict(
    base: StateDict, experts: Experts | Sequence[StateDict], *, layer: Callable[[str], str] = layer_of
) -> SignConflict:
    """How far the signs of Δ_1 … Δ_n disagree, entry by entry: see `Conflict` for what is counted.

    Nothing is trimmed: an entry counts as moved where Δ_i ≠ 0, however little. The notion is that of Yadav et al. 2023,
    "TIES-merging", arXiv 2306.01708, where it is looked at after trimming; `weighted` and `cancelled` do what trimming
    does there, without a threshold.

    Args, errors: as `geometry.cosine_matrix`.

    Example:
        >>> import torch
        >>> base = {"w": torch.zeros(4)}
        >>> a, b = {"w": torch.tensor([1.0, 1.0, 0.0, 2.0])}, {"w": torch.tensor([3.0, -1.0, 5.0, 2.0])}
        >>> found = sign_conflict(base, [a, b]).whole  # contested: all but the third; in conflict: the second
        >>> round(found.share, 3), found.weighted, round(found.cancelled, 3)  # 1 of 3; 2 of a mass of 10; 2 of 15
        (0.333, 0.2, 0.133)
    """
    states = named(base, experts)
    tensors = counted(base)
    found = for_each(lambda name: _look(base, states, name), tensors)
    sums = by_layer({name: terms for name, (terms, _, _) in zip(tensors, found, strict=True)}, layer)
    agreements, both = (np.sum([parts[i] for parts in found], axis=0) for i in (1, 2))
    pairs = np.divide((both - agreements) / 2, both, out=np.zeros_like(both), where=both > 0)
    return SignConflict(
        tuple(states),
        _conflict(sum(sums.values(), start=np.zeros(6))),
        {k: _conflict(v) for k, v in sums.items()},
        pairs,
    )


def _look(base: StateDict, states: dict[str, StateDict], name: str) -> tuple[Array, Array, Array]:
    """Of a tensor: its terms; for each pair, entries moved alike less those moved apart; and entries that both move."""
    terms, agreements, both = np.zeros(6), *(np.zeros((len(states), len(states))) for _ in range(2))
    for _, deltas in delta_blocks(base, states, name):
        signs = np.sign(deltas)
        moved = np.abs(signs)
        agreements += signs @ signs.T  # whole numbers, so exact
        both += moved @ moved.T
        terms += _terms(deltas, signs, moved)
    return terms, agreements, both


def _terms(deltas: Array, signs: Array, moved: Array) -> Array:
    """Of a block: entries contested and in conflict, the mass of each, the mass of all, and what is left of it."""
    contested = moved.sum(axis=0) >= 2
    opposed = (signs.max(axis=0) > 0) & (signs.min(axis=0) < 0)
    mass = np.abs(deltas).sum(axis=0)
    net = np.abs(deltas.sum(axis=0))
    return np.array(
        [contested.sum(), opposed.sum(), mass[contested].sum(), mass[opposed].sum(), mass.sum(), net.sum()], dtype=float
    )


def _conflict(terms: Array) -> Conflict:
    contested, opposed, contested_mass, opposed_mass, mass, net = map(float, terms)
    return Conflict(
        share=opposed / contested if contested else 0.0,
        weighted=opposed_mass / contested_mass if contested_mass else 0.0,
        cancelled=max(0.0, mass - net) / mass if mass else 0.0,
    )
