"""The toy pool with four tasks and four experts: enough for subsets, and for tasks that are kept back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.helpers import toy_pool

TASKS = ("circles", "stripes", "dots", "rings")


def write_four_tasks(folder: Path, *, n: int = 24) -> Path:
    """``models_toy`` and ``tasks_toy`` with the four tasks; returns ``folder``."""
    with pytest.MonkeyPatch.context() as patch:
        for task in TASKS[2:]:
            patch.setitem(toy_pool.CLASSES, task, ("small", "large", "none"))
        return toy_pool.write_toy_assets(folder, tasks=TASKS, n=n, seed=3)


def write_protocol_configs(folder: Path, assets: Path, pools: dict[str, dict]) -> Path:
    """``modelpool/four.yaml``, and a ``taskpool/<name>.yaml`` of the four tasks for each entry with its fields."""
    content = {"modelpool/four": {"type": "embedded_clip", "path": str(assets / "models_toy"), "taskpools": [*pools]}}
    for name, fields in pools.items():
        tasks = {"type": "zero_shot_classification", "path": str(assets / "tasks_toy"), "tasks": [*TASKS]}
        content[f"taskpool/{name}"] = {**tasks, **fields}
    for name, body in content.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(body))
    return folder
