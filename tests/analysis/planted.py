"""State dicts whose analysis is known beforehand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SHAPES = {
    "stem.0.weight": (4, 3, 2, 2),
    "blocks.0.fc.weight": (6, 8),
    "blocks.0.fc.bias": (6,),
    "blocks.0.conv_dw.weight": (6, 1, 3, 3),
    "blocks.1.fc.weight": (9, 4),
    "scale": (),
    "empty": (0, 3),
}
COUNTED = [name for name in SHAPES if name != "empty"]
MATRICES = {"stem.0.weight": (4, 12), "blocks.0.fc.weight": (6, 8), "blocks.1.fc.weight": (9, 4)}


def state(seed: int, *, like: dict[str, Tensor] | None = None, step: float = 0.1, dtype=torch.float32) -> dict:
    """Random floats of every shape (one of them strided), next to a counter and a mask."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in SHAPES.items():
        values = torch.from_numpy(np.asarray(rng.standard_normal(shape)))
        found[name] = (values if like is None else like[name].double() + step * values).to(dtype)
    found["blocks.1.fc.weight"] = found["blocks.1.fc.weight"].T.contiguous().T
    return found | {"steps": torch.tensor(seed), "mask": torch.tensor([True, bool(seed % 2)])}


def pool(count: int = 3, *, seed: int = 0, dtype=torch.float32) -> tuple[dict, dict[str, dict]]:
    """A base and experts that differ from it everywhere, named so that their order is not that of their making."""
    base = state(seed, dtype=dtype)
    names = ["svhn", "mnist", "cars", "dtd", "sun"][:count]
    return base, {name: state(100 * seed + i + 1, like=base, dtype=dtype) for i, name in enumerate(names)}


def flat(base: dict, expert: dict, names: list[str] = COUNTED) -> np.ndarray:
    """The oracle's task vector: all of it in one float64 array, which the library never makes."""
    parts = [expert[n].double().numpy().ravel() - base[n].double().numpy().ravel() for n in names]
    return np.concatenate(parts)


def orthogonal(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Orthonormal columns (n, k)."""
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def moved(base: dict, name: str, delta: np.ndarray) -> dict:
    """The base with a delta added to one tensor, in float64."""
    return {**base, name: base[name].double() + torch.from_numpy(delta).reshape(base[name].shape)}
