"""Where a model runs: whole on its device, or a layer at a time where the device has not the memory for all of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from fusion_bench.disk import byte_text
from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.streaming import dispatch, least_room, plan, size_of, tensors_of, unhook, weight_bytes

How: TypeAlias = Literal["whole", "streamed"]

_ACTIVATIONS = 10  # of a GPU's memory, one part in so many is left to what models compute
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")  # of torch, on CUDA and CPUs


class NoRoom(FusionBenchError):
    """Memory of a device does not suffice: not for the weights that should be there, or not for one example."""


class Placing:
    """Puts models on devices, and keeps in mind how much of their weights left room to compute.

    Weights come from the memory that the model lies in, and are never written to it again: on a device runs a twin of
    the model's modules. A model that a CPU runs is in that memory already, so there it always runs whole.

    Args:
        room: by device, bytes of weights that may be there at once; else what `free_for_weights` finds. Given for a
            CPU, layers are copied within its memory: no use but to see what would happen on a GPU.

    Attributes:
        how: what happened to the last model.
        dtype: of its weights, see `weights_dtype`; ``"none"`` before the first.
    """

    def __init__(self, room: Mapping[str, int] | None = None) -> None:
        self._room = dict(room or {})
        self._held: dict[str, tuple[int, int]] = {}  # bytes of weights there at most, and the fewest that can be
        self._told: set[str] = set()
        self.how: How = "whole"
        self.dtype = "none"

    @contextmanager
    def put(self, model: nn.Module, device: str) -> Iterator[nn.Module]:
        """The model to run on a device, in evaluation mode; what it takes there is free again afterwards.

        Raises:
            NoRoom: another process took the memory meanwhile.
            FusionBenchError: see `placed`.
        """
        room = self._bound(device)
        total, self.dtype = weight_bytes(model), weights_dtype(model)
        self.how = "streamed" if room is not None and total > room else "whole"
        least = least_room(model)
        self._held[device] = (total if self.how == "whole" or room is None else room, least)
        if self.how == "streamed" and device not in self._told:
            self._told.add(device)
            warnings.warn(
                f"weights of {byte_text(total)} run on {device} a layer at a time, which is slow: "
                f"it has {byte_text(room or 0)} for them",
                stacklevel=2,
            )
        with placed(model, device, room=room) as found:
            yield found

    def fewer(self, device: str) -> bool:
        """Have fewer weights on a device from now on, half as many; False where they cannot be fewer."""
        held, least = self._held.get(device, (0, 0))
        if held <= least or not (device in self._room or torch.device(device).type == "cuda"):
            return False
        self._room[device] = max(held // 2, least)
        return True

    def _bound(self, device: str) -> int | None:
        free, wished = free_for_weights(device), self._room.get(device)
        return wished if free is None else free if wished is None else min(free, wished)


@contextmanager
def placed(model: nn.Module, device: str, *, room: int | None = None) -> Iterator[nn.Module]:
    """A model to run on a device, in evaluation mode.

    It is ``model`` itself where its weights lie there and fit; else a twin of its modules, whose weights are copies on
    the device, all of them or, by accelerate, as many as fit beside a layer that is brought when it is called. Results
    are the same to the bit. Nothing of ``model`` changes but its mode, whatever happens meanwhile.

    Args:
        room: bytes of weights and buffers that may be on the device at once; None for all of them.

    Raises:
        NoRoom: the device ran out of memory while weights were brought to it.
        FusionBenchError: a layer that does not fit alone, or accelerate is not installed, or too old.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 1)).requires_grad_(False)
        >>> with placed(model, "cpu") as same, placed(model, "cpu", room=600) as streamed:
        ...     same is model, torch.equal(streamed(torch.ones(1, 8)), model(torch.ones(1, 8)))
        ...     [layer.weight.device.type for layer in (streamed[0], streamed[2])]
        (True, True)
        ['cpu', 'meta']
    """
    streamed = room is not None and weight_bytes(model) > room
    if not streamed and all(_lies_on(tensor, device) for tensor in tensors_of(model)):
        yield model.eval()
        return
    twin = None
    try:
        try:
            if room is not None and streamed:
                places = plan(model, device, room)
                twin = _twin(model, None)
                dispatch(twin, places, device)
            else:
                twin = _twin(model, device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise NoRoom(
                f"{device} ran out of memory while weights of {byte_text(weight_bytes(model))} were brought to it",
                hint="is something else using it?",
            ) from None
        yield twin.eval()
    finally:
        if twin is not None:
            unhook(twin)


def free_for_weights(device: str) -> int | None:
    """Bytes of a GPU's memory that weights may take now: what is free, less a tenth of all for activations.

    None for other devices: nothing is known of them, or models lie in their memory anyway.

    Example:
        >>> free_for_weights("cpu") is None
        True
    """
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.empty_cache()  # what torch keeps for later counts as free
    free, total = torch.cuda.mem_get_info(device)
    return max(0, free - total // _ACTIVATIONS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice.

    Example:
        >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to …"))
        True
        >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        False
    """
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def weights_dtype(model: nn.Module) -> str:
    """The types of a model's floating parameters, that of most bytes first; ``"none"`` where it has none.

    Example:
        >>> weights_dtype(nn.Sequential(nn.Linear(9, 9).bfloat16(), nn.Linear(1, 1)))
        'bfloat16, float32'
    """
    sizes: dict[str, int] = {}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            name = str(parameter.dtype).removeprefix("torch.")
            sizes[name] = sizes.get(name, 0) + size_of(parameter)
    return ", ".join(sorted(sizes, key=lambda name: (-sizes[name], name))) or "none"


def _twin(model: nn.Module, device: str | None) -> nn.Module:
    """The same modules around copies of the tensors on a device, or around the same memory; ties are kept."""
    return copy.deepcopy(model, {id(tensor): _carried(tensor, device) for tensor in tensors_of(model)})


def _carried(tensor: Tensor, device: str | None) -> Tensor:
    moved = tensor.detach() if device is None else tensor.detach().to(device)
    if not isinstance(tensor, nn.Parameter):
        return moved
    # autocast keeps a copy of whatever asks for gradients: of layers that come and go, of all of them
    return nn.Parameter(moved, requires_grad=tensor.requires_grad and device is not None)


def _lies_on(tensor: Tensor, device: str) -> bool:
    wanted = torch.device(device)
    return tensor.device.type == wanted.type and wanted.index in (None, tensor.device.index)
