"""Everything about a case that can be known, and refused, before work starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.cases.fingerprint import fingerprint, plugin_hash, without_seed
from fusion_bench.cases.provenance import plugin_sources
from fusion_bench.cases.search import combinations, open_fields
from fusion_bench.cases.session import Bound, Session
from fusion_bench.cases.storage import keeps, model_bytes
from fusion_bench.disk import check_room
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.view import whole

if TYPE_CHECKING:
    from fusion_bench.algorithms.base import Algorithm


@dataclass(frozen=True)
class Prepared:
    """A validated case.

    Attributes:
        algorithm: with the fields that were given.
        grid: the fields that validation data decides, with the values to try.
        config: the composed configuration.
        fingerprint: of configuration, checkpoints, data and code.
        seedless: the same without the seed; empty where the method has none.
        plugins: the user's own code that the case runs, see `provenance.plugin_sources`.
        loading: seconds that opening the pools took.
    """

    case: Case
    algorithm: Algorithm
    grid: dict[str, Any]
    config: dict[str, Any]
    bound: Bound
    fingerprint: str
    seedless: str
    plugins: dict[str, str]
    loading: float


def prepare(case: Case, session: Session) -> Prepared:
    """Validate a case and open its pools.

    Raises:
        FusionBenchError: a device that is not there, an option out of range, a damaged file, no room for the result.
    """
    check_device(case.device)
    config = session.config(case)
    config = {**config, "algorithm": seeded(config["algorithm"], case)}
    algorithm, grid = _algorithm(case, config, session)
    start = time.perf_counter()
    bound = session.bound(case)
    if algorithm.routed:
        _check_experts(case, bound)
    size = model_bytes(bound.modelpool)
    if grid:  # a task pool without a split to choose by says so before anything is evaluated
        for task in bound.trials[0].chosen_on:
            bound.adapters[task].size("validation")
    loading = time.perf_counter() - start
    facts = bound.taskpool.facts()
    config |= {**({"data": facts} if facts else {}), **bound.steps.stated(case.device)}
    classes = [type(algorithm), type(whole(bound.modelpool)), type(bound.taskpool)]
    pools = (bound.modelpool.content_hash(), bound.taskpool.content_hash())
    content = (*pools, session.code, plugin_hash(classes), torch.__version__)
    seedless = fingerprint(without_seed(config), *content) if "seed" in config["algorithm"] else ""
    store = session.store
    if store is not None and store.location.artifacts is not None and keeps(session.save_models, size):
        hint = "make room, or keep no models: --save-models none"
        check_room(store.location.artifacts, size, what="a fused model", hint=hint)
    mark, plugins = fingerprint(config, *content), plugin_sources(classes)
    return Prepared(case, algorithm, grid, config, bound, mark, seedless, plugins, loading)


def seeded(fields: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """The algorithm's fields with the seed that was asked for; None leaves the YAML's own."""
    typed = any(override.lstrip("+").startswith("algorithm.seed=") for override in case.overrides)
    return {**fields, "seed": case.seed} if "seed" in fields and case.seed is not None and not typed else dict(fields)


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or that this machine has not.

    Raises:
        FusionBenchError: naming the device, and those that are here.

    Example:
        >>> check_device("cpu")
    """
    here = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    hint = f"this machine has: {', '.join(['cpu', *here])}"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise FusionBenchError(f"unknown device {device!r}", hint=hint) from error
    try:
        if kind == "meta":
            raise RuntimeError("it holds no numbers")
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # a build without CUDA asserts
        reason = (str(error).splitlines() or [""])[0]
        raise FusionBenchError(f"device {device!r} cannot be used: {reason}", hint=hint) from error


def _check_experts(case: Case, bound: Bound) -> None:
    names = bound.modelpool.expert_names
    bare = [task for task, one in bound.adapters.items() if one.expert not in names]
    if bare:
        raise FusionBenchError(
            f"{case.label} needs an expert for every task of {case.taskpool!r}: {case.modelpool!r} has none for "
            f"{', '.join(bare)}",
            hint=f"it has {', '.join(names)}; a method that makes one model for all tasks can run without",
        )


def _algorithm(case: Case, config: Mapping[str, Any], session: Session) -> tuple[Algorithm, dict[str, Any]]:
    """The validated algorithm, and the fields that validation data decides."""
    shipped = registry.read_config("algorithm", case.algorithm, config_dir=session.config_dir)
    fields = config["algorithm"]
    grid = open_fields(fields, case.overrides, shipped)
    path = registry.config_path("algorithm", case.algorithm, config_dir=session.config_dir)
    where = f"algorithm {case.label!r} ({path})"
    built: Algorithm = registry.build("algorithm", fields, plugins=session.plugins, where=where)
    for values in combinations(grid):  # every one is validated before the first is fused
        registry.build("algorithm", fields, overrides=values, plugins=session.plugins, where=f"{where}, search")
    return built, grid
