"""How a batch goes through a model: in which type, and in pieces where memory does not suffice for all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from fusion_bench.errors import unknown_name
from fusion_bench.taskpools.batch import Batch, moved
from fusion_bench.taskpools.placement import NoRoom, Placing, is_out_of_memory

Precision = Literal["float32", "bfloat16"]
Wish = Literal["auto", "float32", "bfloat16"]
USUAL: Precision = "float32"


class Steps:
    """Runs batches, and keeps in mind how many examples a device had room for.

    Args:
        wish: ``bfloat16`` is autocast's: products in it, sums and weights as they are. ``auto`` is that on CUDA
            devices that compute in it (compute capability 8 and above), ``float32`` elsewhere.
        room: see `Placing`.

    Attributes:
        placing: where models are put, and what became of it.

    Raises:
        FusionBenchError: another wish.

    Example:
        >>> Steps("auto").precision("cpu")
        'float32'
    """

    def __init__(self, wish: Wish = "float32", *, room: Mapping[str, int] | None = None) -> None:
        if wish not in get_args(Wish):
            raise unknown_name("precision", str(wish), get_args(Wish))
        self.wish, self.placing = wish, Placing(room)
        self._limits: dict[str, int] = {}

    def precision(self, device: str) -> Precision:
        """The type that products are computed in on a device."""
        return precision_on(device, self.wish)

    def stated(self, device: str) -> dict[str, str]:
        """``precision``, where it is another than the one that goes without saying: fingerprints are of what differs.

        Example:
            >>> Steps().stated("cpu"), Steps("bfloat16").stated("cpu")
            ({}, {'precision': 'bfloat16'})
        """
        found = self.precision(device)
        return {} if found == USUAL else {"precision": found}

    def limit(self, device: str) -> int | None:
        """The most examples at once that a device is given; None as long as memory sufficed."""
        return self._limits.get(device)

    def run(self, step: Callable[[Batch], Tensor], batch: Batch, device: str, *, doing: str) -> Tensor:
        """What a step makes of a batch, on the CPU; of what does not fit into memory, half at a time.

        A smaller batch may change the last bit of a result, and nothing else. The size that fitted is kept for all
        later batches on that device.

        Args:
            step: from a batch on ``device`` to a tensor with a row an example. It may run twice on an example.
            batch: tensors of equal first dimension.
            doing: how messages call it.

        Raises:
            NoRoom: not even one example fits. The size is forgotten: with fewer weights there, more may.
        """
        parts: list[Tensor] = []
        start, size = 0, _examples(batch)
        while start < size:
            stop = min(size, start + (self.limit(device) or size))
            found = self._attempt(step, _part(batch, start, stop, size), device)
            if found is not None:
                parts.append(found)
                start = stop
                continue
            if stop - start == 1:
                self._limits.pop(device, None)
                raise NoRoom(
                    f"{doing}: {device} runs out of memory with one example at a time",
                    hint="use a device with more memory, or smaller models",
                )
            _let_go(device)
            self._limits[device] = (stop - start + 1) // 2
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attempt(self, step: Callable[[Batch], Tensor], batch: Batch, device: str) -> Tensor | None:
        """None where memory did not suffice; by then nothing holds on to what was computed."""
        kind = torch.device(device).type
        half = self.precision(device) == "bfloat16"
        try:
            with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=half):
                found = step(moved(batch, device))
                return (found.float() if found.dtype in (torch.bfloat16, torch.float16) else found).cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None


def precision_on(device: str, wish: Wish) -> Precision:
    """See `Steps`.

    Example:
        >>> precision_on("cpu", "auto"), precision_on("cpu", "bfloat16")
        ('float32', 'bfloat16')
    """
    if wish != "auto":
        return wish
    on_cuda = torch.device(device).type == "cuda"
    return "bfloat16" if on_cuda and torch.cuda.get_device_capability(device) >= (8, 0) else "float32"


def pinned(batch: Batch) -> Batch:
    """The batch in memory from which a GPU copies while the CPU goes on."""
    if isinstance(batch, Mapping):
        return {name: tensor.pin_memory() for name, tensor in batch.items()}
    return batch.pin_memory()


def _examples(batch: Batch) -> int:
    return len(next(iter(batch.values()))) if isinstance(batch, Mapping) else len(batch)


def _part(batch: Batch, start: int, stop: int, size: int) -> Batch:
    if stop - start == size:
        return batch
    if isinstance(batch, Mapping):
        return {name: tensor[start:stop] for name, tensor in batch.items()}
    return batch[start:stop]


def _let_go(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
