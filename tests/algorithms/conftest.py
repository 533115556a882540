"""A tiny model with every kind of tensor, and a pool of state dicts without architecture."""

import pytest
import torch
from torch import nn

SHAPES = {
    "linear.weight": (6, 8),
    "tall.weight": (9, 4),
    "linear.bias": (6,),
    "stem.weight": (4, 3, 2, 2),
    "depthwise.weight": (6, 1, 3, 3),
    "token": (1, 5),
    "scale": (),
    "empty": (0, 3),
}


def _state(generator, *, dtype=torch.float32, like=None, step=0.1):
    """Random floats (strided ones among them), next to an integer counter and a boolean mask."""
    state = {}
    for name, shape in SHAPES.items():
        # multiples of 2^-10 below 8: sums, differences and small multiples of them are exact in float32
        noise = (torch.randn(shape, generator=generator, dtype=torch.float64).clamp(-6, 6) * 1024).round() / 1024
        values = noise if like is None else like[name].double() + (noise * step * 1024).round() / 1024
        state[name] = values.to(dtype)
    state["tall.weight"] = state["tall.weight"].T.contiguous().T  # not contiguous
    return state | {"steps": torch.tensor(7), "mask": torch.tensor([True, False])}


@pytest.fixture
def make_models():
    """``make_models(count, dtype=..., seed=...) -> base, {name: expert}``, of fresh tensors."""

    def make(count=3, *, dtype=torch.float32, seed=0, step=0.1):
        generator = torch.Generator().manual_seed(seed)
        base = _state(generator, dtype=dtype)
        names = ["cars", "mnist", "svhn", "dtd", "sun", "gtsrb", "eurosat", "resisc"][:count]
        experts = {name: _state(generator, dtype=dtype, like=base, step=step) for name in names}
        for i, expert in enumerate(experts.values()):
            expert["steps"] = torch.tensor(100 + i)  # counters differ between models; the base's is carried over
        return base, experts

    return make


class StatePool:
    """What algorithms use of a model pool: state dicts in, modules out."""

    name = "toy"

    def __init__(self, base, experts, multitask=None):
        self.states = {"base": base, **experts} | ({"multitask": multitask} if multitask else {})
        self.expert_names = tuple(experts)
        self.has_multitask = multitask is not None
        self.read = []

    def state_dict(self, name):
        self.read.append(name)
        return self.states[name]

    def build(self, state):
        module = nn.Module()
        for name, tensor in state.items():
            module.register_buffer(name.replace(".", "_"), tensor.clone())
        return module.eval()

    def model(self, name):
        return self.build(self.state_dict(name))

    def lent(self, name):
        return self.model(name)


@pytest.fixture
def make_pool():
    return StatePool
