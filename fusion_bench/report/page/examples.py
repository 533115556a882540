"""The examples on which methods differ, as the page carries them: pictures, labels and what each run said."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page.choice import choose_examples
from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import Outcomes
from fusion_bench.report.page.pictures import Adapter, Pictures, thumbnail

MOST = 400  # examples a task
_BASE64 = 4 / 3


def examples_of(
    group: Group, outcomes: Outcomes, pictures: Pictures, *, room: int
) -> tuple[dict[str, Any] | None, list[str]]:
    """What the page shows of single examples; None where fewer than two runs have predictions.

    By task: ``index`` and ``label`` of the examples, ``pictures`` (PNG, base64; None without any), ``classes`` (None
    where their names are not known), ``differ`` (of how many examples they were chosen), and ``said``: by run id the
    predictions, uint16, little endian, base64.

    Args:
        room: bytes that all of it may take; shared evenly between the tasks.
    """
    runs = [run for run in group.newest.values() if run.run_id in outcomes.predictions]
    methods = [run for run in runs if not run.is_reference]
    methods.sort(key=lambda run: (-run.result["metrics"]["accuracy/mean"], run.label))
    if len(methods) < 2:
        return None, []
    found: dict[str, Any] = {}
    notes: list[str] = []
    for task in group.tasks:
        if any(outcomes.correct[run.run_id][task].dtype != np.bool_ for run in methods):
            continue  # no example is simply right or wrong
        correct = np.stack([outcomes.correct[run.run_id][task] for run in methods])
        differ = int((correct.any(axis=0) & ~correct.all(axis=0)).sum())
        each = 2 * _BASE64 * len(runs) + 12  # bytes of an example without its picture
        budget = room / len(group.tasks)
        order = choose_examples(correct, min(MOST, int(budget / each)))
        said = outcomes.predictions[runs[0].run_id][task]
        classes: list[str] | None = None
        shots: list[str] | None = None
        try:
            adapter = pictures.adapter(group.modelpool, group.taskpool, task, group.data[task])
            classes, shots = list(adapter.classes), _shots(adapter, said.index[order], budget, each)
            order = order[: len(shots)]
        except FusionBenchError as error:
            notes.append(f"{group.experiment}: examples are shown without pictures: {error.message}")
        found[task] = {
            "place": order.tolist(),
            "index": said.index[order].tolist(),
            "label": said.label[order].tolist(),
            "pictures": shots,
            "classes": classes,
            "differ": differ,
            "said": {run.run_id: _uint16(outcomes.predictions[run.run_id][task].prediction[order]) for run in runs},
        }
    return found or None, list(dict.fromkeys(notes))


def _shots(adapter: Adapter, index: np.ndarray, room: float, each: float) -> list[str]:
    """Pictures of examples, as many of the first as there is room for; PNG, base64."""
    found: list[str] = []
    for each in index:
        shot = base64.b64encode(thumbnail(adapter, int(each))).decode("ascii")
        room -= len(shot) + each
        if room < 0:
            break
        found.append(shot)
    return found


def _uint16(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<u2").tobytes()).decode("ascii")
