"""Running a model whose weights come to a device a layer at a time: what stays there, and the hooks, by accelerate."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

from fusion_bench.disk import byte_text
from fusion_bench.errors import FusionBenchError

INSTALL = "pip install 'fusion-bench-suite[lm]'"
LEAST = (1, 2)  # of accelerate: earlier ones fail on modules whose parts come together

_HOST = "cpu"  # as accelerate calls the memory that layers come from
_TOGETHER = ("MultiheadAttention", "TransformerEncoderLayer")  # torch's, which read weights of parts they never call


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers; one that has several names counts once.

    Example:
        >>> weight_bytes(nn.Linear(3, 2))
        32
    """
    return sum(map(size_of, tensors_of(model)))


def plan(model: nn.Module, device: str, room: int) -> dict[str, str]:
    """Which modules stay on a device, and which come to it when they are called: by module its place.

    Args:
        room: bytes that weights and buffers may take there at once. What stays leaves room for the largest layer.

    Returns:
        ``"device"`` or ``"cpu"`` by module name, as `accelerate.infer_auto_device_map` finds it.

    Raises:
        FusionBenchError: a layer that does not fit alone, or accelerate is not installed, or too old.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
        >>> plan(model, "cuda", 600)
        {'0': 'device', '1': 'cpu', '2': 'cpu'}
    """
    name, size = largest_layer(model)
    takes = f"weights of {byte_text(weight_bytes(model))} do not fit on {device}, which has {byte_text(room)} for them"
    if least_room(model) > room:
        raise FusionBenchError(
            f"{takes}, and neither does {name!r}, the largest layer, alone: {byte_text(size)}",
            hint="use a device with more memory, or the CPU",
        )
    lack = _lack()
    if lack is not None:
        raise FusionBenchError(f"{takes}; to run them a layer at a time {lack}", hint=INSTALL)
    from accelerate import infer_auto_device_map

    with _quiet():
        found = infer_auto_device_map(
            model,
            max_memory={0: room - _always_there(model), _HOST: sys.maxsize},
            no_split_module_classes=sorted(_unsplit(model)),
            offload_buffers=True,
        )
    return {module: "device" if place == 0 else _HOST for module, place in found.items()}


def least_room(model: nn.Module) -> int:
    """Bytes that a device needs at least to run a model a layer at a time."""
    return _always_there(model) + largest_layer(model)[1]


def dispatch(model: nn.Module, places: Mapping[str, str], device: str) -> None:
    """Hook a model up so that its layers come to a device when they are called. It is written to.

    Args:
        places: see `plan`.
    """
    from accelerate import dispatch_model

    # to accelerate the word "cpu" is where layers come from; an object that means a CPU is a device like any GPU
    here = torch.device(device)
    devices = {module: here if place == "device" else _HOST for module, place in places.items()}
    with _quiet():
        dispatch_model(
            model,
            devices,
            main_device=here,
            state_dict=model.state_dict(),  # else accelerate finds no name below "", which is where all may be
            offload_buffers=True,
            preload_module_classes=list(_TOGETHER),
            force_hooks=True,  # else a model of which nothing stays there would be left where it is
        )


def unhook(model: nn.Module) -> None:
    """Let go of a dispatched model's memory now: hooks and modules refer to each other, and would wait for gc."""
    for module in model.modules():
        module.__dict__.pop("_hf_hook", None)
        module._parameters.clear()
        module._buffers.clear()


def _unsplit(model: nn.Module) -> set[str]:
    """Classes whose modules stay in one place: those that the model names, and those with tensors of their own.

    A module that is split has its parts hooked, and would leave tensors of its own where they are. Of one that is kept
    together and does not fit, no part stays on the device; they all come when they are called.
    """
    named = set(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        named |= set(getattr(module, "_no_split_modules", None) or ())
        if module is not model and (_own(module) or module._buffers) and next(module.children(), None) is not None:
            named.add(type(module).__name__)
    return named | set(_TOGETHER)


def largest_layer(model: nn.Module) -> tuple[str, int]:
    """The layer whose call brings most bytes: its own tensors, and those of the modules that it is called by.

    Example:
        >>> largest_layer(nn.Sequential(nn.Linear(3, 2), nn.Linear(8, 8)))
        ('1', 288)
    """
    best, within = ("", 0), {"": 0}
    at_once: set[str] = set()
    for name, module in model.named_modules():  # parents come before their parts
        parent = name.rpartition(".")[0]
        if name and parent in at_once:  # came with it
            at_once.add(name)
            continue
        own = _own(module)
        if type(module).__name__ in _TOGETHER:
            at_once.add(name)
            own = tensors_of(module)
        within[name] = within[parent] + sum(map(size_of, {id(tensor): tensor for tensor in own}.values()))
        best = max(best, (name, within[name]), key=lambda one: one[1])
    return best


def _always_there(model: nn.Module) -> int:
    """Bytes of buffers that are no part of a checkpoint: they are on the device all the time."""
    return sum(
        size_of(buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name in module._non_persistent_buffers_set
    )


def _own(module: nn.Module) -> list[Tensor]:
    """Tensors of a module itself that come and go."""
    spared = module._non_persistent_buffers_set
    buffers = [buffer for name, buffer in module._buffers.items() if buffer is not None and name not in spared]
    return [*(parameter for parameter in module._parameters.values() if parameter is not None), *buffers]


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once."""
    return [*model.parameters(), *model.buffers()]


def size_of(tensor: Tensor) -> int:
    """Bytes of a tensor."""
    return tensor.numel() * tensor.element_size()


def _lack() -> str | None:
    """Why accelerate cannot be used here; None where it can. Nothing is imported for it."""
    try:
        found = version("accelerate")
    except PackageNotFoundError:
        return "needs accelerate, which is not installed"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    return None if numbers >= LEAST else f"needs accelerate {'.'.join(map(str, LEAST))} or later; {found} is installed"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without accelerate's remarks on devices that it cannot see, and on weights that are elsewhere, as they should."""
    logger = logging.getLogger("accelerate")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
