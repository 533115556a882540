"""Task vectors, a bounded part of them at a time.

What every analysis of state dicts agrees on:

- A task vector is Δ_i = θ_i − θ_0, both made ``float64`` first, so that no bit of a ``float16`` checkpoint is lost.
- Tensors of floating-point numbers count, buffers among them (running means, say). Integers and booleans (position
  ids, counters, masks) are no direction to move in and are left out.
- Experts are taken in the order of their names. All models must have the base's tensors, finite and real.
- Each core works on one tensor of all models at a time, in the type they are stored in, of which one block is made
  ``float64``; matrices that are to be decomposed are made ``float64`` as a whole, one of all experts at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.fitting import check_compatible
from fusion_bench.weights.parallel import map_in_threads
from fusion_bench.weights.spectral import matrix_shape
from fusion_bench.weights.state_dict import Experts, StateDict, check_finite, named_experts

Array: TypeAlias = NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 1 << 18  # entries of each model that are float64 at once: 2 MB a model


def named(base: StateDict, experts: Experts | Sequence[StateDict], *, label: str = "base") -> dict[str, StateDict]:
    """The experts by name, in the order of their names, each found to fit the base.

    Args:
        label: how messages call the base.

    Raises:
        FusionBenchError: no expert; one with other tensors than the base; a number that is not finite or not real; a
            base without any tensor that counts.
    """
    found = named_experts(experts)
    for name, state in found.items():
        check_compatible(base, state, name=name, base_name=label)
    for_each(lambda pair: check_finite(pair[1], name=pair[0]), [(label, base), *found.items()])
    if not counted(base):
        raise FusionBenchError(
            f"{label} has no tensor of floating-point numbers", hint="integer and boolean tensors have no task vector"
        )
    return found


def counted(base: StateDict) -> list[str]:
    """The names of the tensors that count: floating-point, and not empty.

    Example:
        >>> counted({"w": torch.zeros(2), "steps": torch.tensor(3), "none": torch.zeros(0)})
        ['w']
    """
    return [name for name, tensor in base.items() if tensor.is_floating_point() and tensor.numel()]


def blocks(states: Sequence[StateDict], name: str) -> Iterator[Array]:
    """The entries of one tensor of some models, block by block: ``float64`` (models, b), b at most `BLOCK`.

    Example:
        >>> [part.tolist() for part in blocks([{"w": torch.ones(2)}, {"w": torch.zeros(2)}], "w")]
        [[[1.0, 1.0], [0.0, 0.0]]]
    """
    flat = [state[name].detach().reshape(-1) for state in states]
    for start in range(0, len(flat[0]), BLOCK):
        parts = [tensor[start : start + BLOCK].to(device="cpu", dtype=torch.float64) for tensor in flat]
        yield torch.stack(parts).numpy()


def delta_blocks(base: StateDict, experts: Mapping[str, StateDict], name: str) -> Iterator[tuple[Array, Array]]:
    """One tensor, block by block: the base's entries (b,) and the task vectors' (experts, b), ``float64``.

    Example:
        >>> base, one = {"w": torch.ones(2)}, {"a": {"w": torch.tensor([1.0, 3.0])}}
        >>> [deltas.tolist() for _, deltas in delta_blocks(base, one, "w")]
        [[[0.0, 2.0]]]
    """
    for part in blocks([base, *experts.values()], name):
        yield part[0], part[1:] - part[0]


def by_layer(terms: Mapping[str, Array], layer: Callable[[str], str]) -> dict[str, Array]:
    """Sums over the tensors of each layer, in the order of the tensors.

    Example:
        >>> terms = {"a.0.w": np.ones(1), "a.0.b": np.ones(1), "a.1.w": np.ones(1)}
        >>> {key: value.tolist() for key, value in by_layer(terms, layer_of).items()}
        {'a.0': [2.0], 'a.1': [1.0]}
    """
    sums: dict[str, Array] = {}
    for name, term in terms.items():
        key = layer(name)
        sums[key] = sums[key] + term if key in sums else term
    return sums


def matrices(base: StateDict) -> dict[str, tuple[int, int]]:
    """The tensors that are matrices, with rows (outputs) and columns (inputs).

    The reading is that of the merging methods (`weights.spectral.matrix_shape`): kernels of convolutions are laid out
    as (outputs, inputs · height · width); depthwise ones, vectors and anything with one row or column are no matrices.

    Example:
        >>> matrices({"w": torch.zeros(3, 2), "kernel": torch.zeros(4, 3, 2, 2), "bias": torch.zeros(3)})
        {'w': (3, 2), 'kernel': (4, 12)}
    """
    shapes = {name: matrix_shape(base[name].shape) for name in counted(base)}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def delta_matrix(base: StateDict, expert: StateDict, name: str, shape: tuple[int, int]) -> Tensor:
    """One task vector's matrix, ``float64`` of ``shape``.

    Example:
        >>> delta_matrix({"w": torch.zeros(2, 2)}, {"w": torch.eye(2)}, "w", (2, 2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return (expert[name].detach().cpu().double() - base[name].detach().cpu().double()).reshape(shape)


def for_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]`` on all cores, each item on one: the same bits whatever their number.

    Tensors of usual models are too small to be worth two cores each; and where others want the cores too, threads that
    wait for each other within a tensor cost many times the work.
    """
    return map_in_threads(function, list(items), threads=torch.get_num_threads(), blas=True)


def layer_of(name: str) -> str:
    """The layer a tensor belongs to: its name up to the last number in it; without one, all but the last part.

    A number that ends the name (a list of parameters) or stands before its last part (``stem.0.weight``) counts as any
    other. Pass a function of your own to the analyses where another grouping is wanted.

    Example:
        >>> [layer_of(n) for n in ("visual.stages.2.blocks.1.mlp.fc1.weight", "visual.head.fc.bias", "token")]
        ['visual.stages.2.blocks.1', 'visual.head.fc', 'token']
    """
    parts = name.split(".")
    last = max((i for i, part in enumerate(parts) if part.isdecimal()), default=None)
    return ".".join(parts[: last + 1] if last is not None else parts[:-1] or parts)


def off_diagonal(matrix: Array) -> Array:
    """The entries of a square matrix that are not on its diagonal, (n² − n,).

    Example:
        >>> off_diagonal(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [2.0, 3.0]
    """
    found: Array = matrix[~np.eye(len(matrix), dtype=bool)]
    return found


def mean_pair(matrix: Array) -> float:
    """The mean over the entries of `off_diagonal`; 0 where there is none.

    Example:
        >>> mean_pair(np.array([[1.0, 2.0], [3.0, 4.0]])), mean_pair(np.ones((1, 1)))
        (2.5, 0.0)
    """
    found = off_diagonal(matrix)
    return float(found.mean()) if found.size else 0.0
