"""How sharp the gate is: read from ``gate.yaml`` beside the baselines, else the values below."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from fusion_bench.errors import FusionBenchError, nearest

FILE = "gate.yaml"

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Settings:
    """What makes a case fail.

    Attributes:
        level: chance that a night in which nothing changed fails anything, over all cases and tasks together.
        task_tolerance, mean_tolerance: a loss of accuracy beyond this fails whatever the tests say. Fractions.
        rounding: share of predictions that other hardware or other versions may turn by rounding alone, in a case that
            is deterministic. On the same machine with the same versions nothing may change.
        fusion_ratio: fusion may take so many times the processor seconds of the baseline, both in units of the
            calibration kernel's.
        fusion_seconds: fusions shorter than this are not held to it: their time is noise.
        memory_ratio: fusion may need so many times the memory, and ``memory_mb`` on top of it.
    """

    level: Share = 0.01
    task_tolerance: Share = 0.05
    mean_tolerance: Share = 0.02
    rounding: Annotated[float, Field(ge=0, lt=0.1)] = 0.0002
    fusion_ratio: Annotated[float, Field(gt=1)] = 2.0
    fusion_seconds: Annotated[float, Field(ge=0)] = 0.5
    memory_ratio: Annotated[float, Field(gt=1)] = 1.5
    memory_mb: Annotated[float, Field(ge=0)] = 128.0


def read_settings(folder: Path) -> Settings:
    """The settings of a folder of baselines; the defaults where it has none.

    Raises:
        FusionBenchError: a field that is unknown (with the nearest) or out of range, or a file that is no YAML.

    Example:
        >>> read_settings(Path("nowhere")).level
        0.01
    """
    import yaml

    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise FusionBenchError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        return TypeAdapter(Settings).validate_python(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        known = list(Settings.__dataclass_fields__)
        near = nearest(name, known) if name not in known else []
        meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise FusionBenchError(f"{path}: {name} {first['msg']}", hint=f"{meant}It has: {', '.join(known)}") from error
