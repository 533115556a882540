"""``fusion_bench.merge``: one call for state dicts in memory and for checkpoints on disk."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from pydantic import StrictBool
from torch import Tensor

from fusion_bench import registry
from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.algorithms.options import checked, made
from fusion_bench.datasets.digests import Digest, digest_kind, digests
from fusion_bench.errors import FusionBenchError
from fusion_bench.memory import PeakMemory
from fusion_bench.merging.card import described, model_card
from fusion_bench.merging.estimate import estimated_seconds
from fusion_bench.merging.inputs import as_target, check_source, input_paths, refuse_quantised, refuse_twice
from fusion_bench.merging.names import checkpoint_names
from fusion_bench.merging.options import as_bytes, as_device, as_dtype
from fusion_bench.merging.report import MergePlan, MergeReport, planned
from fusion_bench.progress import Progress, silent
from fusion_bench.weights.carried import carried_note, differing
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.engine import NonFinite, execute
from fusion_bench.weights.file_checkpoint import FileCheckpoint, Traffic
from fusion_bench.weights.fitting import OnMismatch
from fusion_bench.weights.header import Header
from fusion_bench.weights.memory import MemorySink
from fusion_bench.weights.opening import Source, open_checkpoint
from fusion_bench.weights.plan import MEMORY, Plan, make_plan
from fusion_bench.weights.publication import card_of, check_target, published
from fusion_bench.weights.storage import file_sink, layout

Experts: TypeAlias = "Sequence[Source] | Mapping[str, Source]"


def merge(
    algorithm: str | Mapping[str, Any] | MergingAlgorithm,
    *,
    base: Source,
    experts: Experts,
    out: str | os.PathLike[str] | None = None,
    memory: int | float | str = MEMORY,
    threads: int | None = None,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    on_mismatch: OnMismatch = "error",
    on_non_finite: NonFinite = "error",
    overwrite: bool = False,
    hashes: Digest | bool = "blake3",
    dry_run: bool = False,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    progress: Progress = silent,
    **options: Any,
) -> dict[str, Tensor] | MergeReport | MergePlan:
    """Merge models: state dicts into a state dict, or checkpoints on disk into a checkpoint on disk.

    The same rule does both; on disk the inputs are read in pieces, so models larger than memory can be merged.

    Args:
        algorithm: a name, a YAML file, a configuration, or an algorithm.
        base: θ₀: a state dict, a safetensors file, a Hugging Face folder, a ``.bin`` or ``.pt`` file.
        experts: θᵢ: the same kinds, or PEFT adapters of the base; by name, or a sequence, whose names are made from
            the paths (positions, for state dicts).
        out: a folder, or a file ending in ``.safetensors``; None returns a state dict.
        memory: bytes that the work may hold beside mapped files, inputs in memory and a result in memory; "2GB" too.
        threads: as many as there are cores, if None.
        device: where the arithmetic is done, "cuda" for instance.
        dtype: of the result's floating tensors, "bfloat16" for instance; the base's own if None.
        on_mismatch: about tensors that do not fit the base's: ``error``; ``base`` takes the base's; ``pad`` gives a
            smaller vocabulary the base's rows; ``tokens`` puts rows of embeddings where the base has the same token.
        on_non_finite: ``error`` or ``allow``.
        overwrite: replace what is at ``out``.
        hashes: which digest of the inputs' files the model card gives: ``blake3``, ``sha256``, or False for none.
        dry_run: check everything that headers show, and return the plan.
        config_dir, plugins: of one's own algorithms.
        progress: told how far the work is.
        **options: the algorithm's fields.

    Returns:
        The state dict; with ``out`` a `MergeReport`; with ``dry_run`` a `MergePlan`.

    Raises:
        FusionBenchError: before work starts, where headers show it. Inputs are never changed, and ``out`` is either
            whole or not there.

    Example:
        >>> base = {"w": torch.zeros(2)}
        >>> merge("task_arithmetic", base=base, experts=[{"w": torch.ones(2)}, {"w": torch.ones(2)}], scaling=0.5)
        {'w': tensor([1., 1.])}
    """
    began = time.perf_counter()
    digest, budget, kind = digest_kind(hashes), as_bytes(memory), as_dtype(dtype)
    overwrite = checked("overwrite", overwrite, StrictBool)
    run = {
        "device": as_device(device),
        "on_non_finite": checked("on_non_finite", on_non_finite, NonFinite),
        "progress": progress,
    }
    rule = _algorithm(algorithm, options, config_dir, plugins)
    method = algorithm if isinstance(algorithm, str) else type(rule).__name__
    target = as_target(out)
    check_source("base", base)
    sources = {"base": base, **(named := checkpoint_names(experts))}
    opened: dict[str, Checkpoint] = {}
    try:
        for name, source in sources.items():
            label = None if isinstance(source, (str, os.PathLike)) else "base" if not opened else f"expert {name!r}"
            origin = opened.get("base")
            opened[name] = open_checkpoint(source, label=label, base=origin, like=origin)
        refuse_quantised(opened.values())
        if not isinstance(experts, Mapping):
            refuse_twice({name: opened[name] for name in named})
        plan = make_plan(
            opened["base"],
            {name: opened[name] for name in rule.needed(list(named))},
            rule,
            memory=budget,
            threads=threads,
            dtype=kind,
            on_mismatch=on_mismatch,
        )
        headers = layout(plan, target) if target is not None else {}
        size = sum(header.size for header in headers.values()) if target is not None else plan.output_bytes
        if target is not None:
            check_target(target, input_paths(sources.values(), opened.values()), overwrite=overwrite, needed=size)
        if dry_run:
            seconds = estimated_seconds(plan, rule, run["device"])
            return planned(plan, method, target, passes=rule.passes(), seconds=seconds, to_write=size)
        if target is None:
            sink = MemorySink(plan, device=_device_of(base))
            execute(plan, rule, sink, scaling=rule.step_size, **run)
            return sink.state()
        used = [opened["base"], *(opened[name] for name in plan.given)]
        return _to_disk(plan, rule, method, target, headers, used, began, digest, run)
    finally:
        for checkpoint in opened.values():
            if not isinstance(base, Checkpoint) or checkpoint is not base:
                checkpoint.close()


def _to_disk(
    plan: Plan,
    rule: MergingAlgorithm,
    method: str,
    out: Path,
    headers: Mapping[str, Header],
    opened: Sequence[Checkpoint],
    began: float,
    hashes: Digest | None,
    run: dict[str, Any],
) -> MergeReport:
    hashing = 0.0
    with PeakMemory(private=True) as memory:
        with published(out) as part:
            with file_sink(plan, headers, part, out) as sink:
                execute(plan, rule, sink, scaling=rule.step_size, **run)
            notes = (*plan.notes, *carried_note(differing(plan)))
            at = time.perf_counter()
            files = sorted({file for checkpoint in opened for file in checkpoint.files})
            found = digests(files, hashes, threads=plan.threads, progress=run["progress"])
            hashing = time.perf_counter() - at
            roles = ["base", *(f"expert {name}" for name in plan.given)]
            inputs = [described(role, checkpoint, found) for role, checkpoint in zip(roles, opened, strict=True)]
            card = model_card(out.stem, method, dataclasses.asdict(rule), inputs, notes, hashes)
            if part.is_dir():
                card_of(part).write_text(card, encoding="utf-8")
        if out.is_file():
            card_of(out).write_text(card, encoding="utf-8")
    seconds = time.perf_counter() - began - hashing
    read = Traffic()
    for checkpoint in opened:
        if isinstance(checkpoint, FileCheckpoint):
            read.add(checkpoint.traffic.bytes, checkpoint.traffic.seconds)
    once = read.seconds * plan.input_bytes / read.bytes if read.bytes else 0.0
    return MergeReport(
        path=out,
        method=method,
        seconds=seconds,
        hashing_seconds=hashing,
        bytes_read=read.bytes,
        bytes_written=sink.traffic.bytes,
        floor_seconds=min(seconds, (once + sink.traffic.seconds) / plan.threads),
        peak_memory=memory.peak - memory.start,
        notes=notes,
    )


def _algorithm(
    source: str | Mapping[str, Any] | MergingAlgorithm,
    options: Mapping[str, Any],
    config_dir: Path | None,
    plugins: Sequence[str],
) -> MergingAlgorithm:
    if isinstance(source, MergingAlgorithm):
        return made(functools.partial(dataclasses.replace, source), **options) if options else source
    built = registry.build("algorithm", source, overrides=options, config_dir=config_dir, plugins=plugins)
    if not isinstance(built, MergingAlgorithm):
        names = [
            name
            for name in registry.names("algorithm", config_dir=config_dir)
            if registry.read_config("algorithm", name, config_dir=config_dir).get("kind") == "merging"
        ]
        raise FusionBenchError(
            f"{source} makes no checkpoint: it is of the kind {built.kind!r}",
            hint=f"methods that merge weights: {', '.join(names)}",
        )
    return built


def _device_of(source: Source) -> torch.device | None:
    return next((t.device for t in source.values()), None) if isinstance(source, dict) else None
