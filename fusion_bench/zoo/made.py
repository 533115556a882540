"""What recipes have in common that make the experts of a model pool's YAML."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import read_config


def first_taskpool(pool: str, config_dir: Path | None) -> str:
    """The first task pool that a model pool says it fits: its tasks are what experts are trained on.

    Raises:
        FusionBenchError: it names none.

    Example:
        >>> first_taskpool("nyuv2_resnet50", None)
        'nyuv2'
    """
    named = read_config("modelpool", pool, config_dir=config_dir).get("taskpools") or []
    if not named:
        raise FusionBenchError(f"model pool {pool!r} names no task pool", hint="taskpools: [ta8_classification]")
    return str(named[0])
