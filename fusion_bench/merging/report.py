"""What a merge is going to do, and what it did, in numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.weights.plan import Plan


@dataclass(frozen=True)
class MergePlan:
    """What ``dry_run=True`` returns: known from headers, but for the time, which a few pieces were timed for.

    Attributes:
        tensors: how many there are, of which ``whole`` must be held in one piece.
        bytes_to_read: of one pass over the inputs.
        passes: over the inputs, at least.
        bytes_to_write: of the result's files.
        memory: bytes that the work may hold: the budget, or what the largest whole tensors take.
        seconds: about how long it will take.
        notes: how inputs are read where that had to be decided, what will be done about tensors that do not fit.
    """

    method: str
    out: Path | None
    tensors: int
    whole: int
    bytes_to_read: int
    passes: int
    bytes_to_write: int
    memory: int
    threads: int
    seconds: float
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal."""
        passes = f"{self.passes} passes over " if self.passes > 1 else ""
        whole = f", {self.whole} of them held whole" if self.whole else ""
        return [
            f"method   {self.method}",
            f"tensors  {self.tensors:,}{whole}",
            f"read     {passes}{_gigabytes(self.bytes_to_read)}",
            f"write    {_gigabytes(self.bytes_to_write)} to {self.out or 'memory'}",
            f"memory   {_gigabytes(self.memory)} beside mapped files, {self.threads} threads",
            f"time     about {self.seconds:.1f} s here, from a sample",
            *(f"note     {note}" for note in self.notes),
        ]


@dataclass(frozen=True)
class MergeReport:
    """What a merge to disk did.

    Attributes:
        path: the result.
        seconds: of the merge, from opening the inputs to the published result, without hashing.
        hashing_seconds: spent on digests of the inputs for the card.
        bytes_read, bytes_written: by all passes together.
        floor_seconds: what one pass over the inputs and one over the output would have taken at the speed that
            reading and writing had here.
        peak_memory: bytes of private memory at the highest, beyond what was held before.
        notes: how inputs were read where that had to be decided, what was done about tensors that did not fit, which
            tensors that are not floating differed.
    """

    path: Path
    method: str
    seconds: float
    hashing_seconds: float
    bytes_read: int
    bytes_written: int
    floor_seconds: float
    peak_memory: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        moved = (self.bytes_read + self.bytes_written) / 1e9
        share = self.floor_seconds / self.seconds
        hashing = f" (and {self.hashing_seconds:.1f} s of hashing)" if self.hashing_seconds else ""
        return [
            *(f"note: {note}" for note in self.notes),
            f"{self.path}: {self.method} in {self.seconds:.2f} s{hashing}",
            f"{moved:.2f} GB moved at {moved / self.seconds:.2f} GB/s, {share:.0%} of the I/O floor's speed, "
            f"{self.peak_memory / 2**20:.0f} MB of private memory at the peak",
        ]

    def to_dict(self) -> dict[str, object]:
        """As JSON takes it."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def planned(plan: Plan, method: str, out: Path | None, *, passes: int, seconds: float, to_write: int) -> MergePlan:
    """The plan of a job, for people."""
    return MergePlan(
        method=method,
        out=out,
        tensors=len(plan.specs),
        whole=len(plan.wholes),
        bytes_to_read=plan.input_bytes,
        passes=passes,
        bytes_to_write=to_write,
        memory=plan.held,
        threads=plan.threads,
        seconds=seconds,
        notes=plan.notes,
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"
