"""What cases would read, hold and write, told from YAML and file sizes: nothing is opened and no torch imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion_bench.cases.case import Case
from fusion_bench.hub import local, read_pool
from fusion_bench.hub.files import is_weights
from fusion_bench.hub.pool_sources import Pool
from fusion_bench.memory import BUDGET

_BASE = "base"


@dataclass(frozen=True)
class PoolOutlook:
    """One pool.

    Attributes:
        group, name, about: which it is.
        parts: how many models, or tasks, it has.
        bytes: of what is here of it: weights, or data.
        largest: bytes of its base, or of its largest model where that is not here; 0 of a task pool.
        stated: bytes of one of its models as its file states them, and ``download`` those of all of it; 0 where it
            does not.
        made: roles of ``missing`` that a command, ``make``, makes.
        missing: what is not here, by role, and why.
    """

    group: str
    name: str
    about: str
    parts: int
    bytes: int
    largest: int
    missing: dict[str, str] = field(default_factory=dict)
    stated: int = 0
    download: int = 0
    made: frozenset[str] = frozenset()
    make: str | None = None

    @property
    def fetch(self) -> str | None:
        """The command that fetches what lacks, as far as it can be fetched."""
        return f"fusion_bench pools fetch {self.name}" if set(self.missing) - self.made else None


@dataclass(frozen=True)
class CaseOutlook:
    """One case.

    Attributes:
        memory: bytes that fusing and evaluating hold at most, about; None where the pool's models are not here and its
            file does not state their size.
        writes: bytes of the fused model, if it is kept.
    """

    case: Case
    modelpool: PoolOutlook
    taskpool: PoolOutlook
    memory: int | None
    writes: int | None


def outlooks(cases: Sequence[Case], *, config_dir: Path | None = None) -> list[CaseOutlook]:
    """What each case would need.

    Memory is, of a merging method, two models (the result and one that is read or evaluated) and what the engine
    takes; of an ensemble two, the members being evaluated one after the other; of a reference one.

    Example:
        >>> (one,) = outlooks([Case("ties", "clip_mini", "mini8")])
        >>> one.modelpool.parts, one.modelpool.missing, one.memory > one.modelpool.largest
        (10, {}, True)
    """
    pools: dict[tuple[str, str, tuple[str, ...]], PoolOutlook] = {}

    def pool(group: str, name: str, overrides: tuple[str, ...]) -> PoolOutlook:
        own = tuple(o for o in overrides if o.startswith(f"{group}."))
        if (group, name, own) not in pools:
            pools[group, name, own] = _outlook(read_pool(group, name, config_dir=config_dir, overrides=own))
        return pools[group, name, own]

    found = []
    for case in cases:
        models = pool("modelpool", case.modelpool, case.overrides)
        tasks = pool("taskpool", case.taskpool, case.overrides)
        size = models.largest if not models.missing else models.stated or None
        held = {"reference": 1, "merging": 2, "ensemble": 2}.get(case.kind, models.parts)
        engine = min(BUDGET, models.bytes or models.parts * models.stated) if case.kind == "merging" else 0
        memory = None if size is None else held * size + engine
        found.append(CaseOutlook(case, models, tasks, memory, size if case.kind in ("merging", "mixing") else None))
    return found


def _outlook(pool: Pool) -> PoolOutlook:
    sizes: dict[str, int] = {}
    for role, source in pool.sources.items():
        folder = local(source)
        if folder is not None:
            sizes |= _sizes(role, folder)
    if pool.group == "modelpool":
        parts = len(sizes) if set(pool.sources) == {"path"} else len(pool.sources)
        largest = sizes.get(_BASE, max(sizes.values(), default=0))
    else:
        tasks = pool.config.get("tasks", ())
        parts, largest = len(tasks), 0
    download = pool.config.get("bytes")
    return PoolOutlook(
        pool.group, pool.name, pool.about, parts, sum(sizes.values()), largest, pool.missing,
        stated=pool.model_bytes or 0, download=download if type(download) is int else 0,
        made=frozenset(role for role, source in pool.sources.items() if source in pool.made),
        make=pool.make if pool.made else None,
    )  # fmt: skip


def _sizes(role: str, folder: Path) -> dict[str, int]:
    """Bytes of the weights or data of a source; of a folder that holds several models, of each."""
    if folder.is_file():
        return {role: folder.stat().st_size}
    files = [path for path in folder.rglob("*") if is_weights(path.name) and path.is_file()]
    if role == "path":
        return {
            f"{path.parent.name}/{path.stem}" if path.stem != _BASE else _BASE: path.stat().st_size for path in files
        }
    return {role: sum(path.stat().st_size for path in files if path.parent == folder or path.suffix == ".parquet")}
