"""Frames: the documented columns and types, whatever the store holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pytest

from fusion_bench.metrics.intervals import wilson_interval
from fusion_bench.tracking import Store
from fusion_bench.tracking.frames import PER, results
from tests.helpers.results import make_result, right
from tests.helpers.stored_runs import store_run

Per = Literal["task", "run", "example"]


def written(store: Store, folder: Path) -> None:
    """A run with and one without a seed, one with sources."""
    store_run(store, make_result(), folder / "ties", clusters={"a": np.arange(400).astype(str)})
    store_run(store, make_result(label="dare", seed=3), folder / "dare")


@pytest.mark.parametrize("per", get_args(Per))
def test_a_frame_without_rows_has_the_columns_and_types_of_one_with(store: Store, tmp_path: Path, per: Per) -> None:
    written(store, tmp_path)
    full = results(per=per, tracking_uri=store.location.uri)
    none = results(per=per, where="params.algorithm = 'nobody'", tracking_uri=store.location.uri)
    assert len(full) > 0 == len(none)
    assert none.attrs["notes"] == []
    assert set(full.columns) <= set(none.columns)  # and more: costs that no run here has
    # text of which a part is missing may be of a wider type
    kinds = {name: (full[name].dtype, none[name].dtype) for name in full.columns if name != "cluster"}
    assert {name: pair for name, pair in kinds.items() if pair[0] != pair[1]} == {}
    assert len(pd.concat([none, full])) == len(full)


def test_the_columns_are_those_that_are_documented(store: Store) -> None:
    said = set(re.findall(r"``(\w+)``", results.__doc__ or ""))
    for per in PER:
        assert set(results(per=per, tracking_uri=store.location.uri).columns) <= said  # type: ignore[arg-type]


def test_a_row_a_task_and_run(store: Store, tmp_path: Path) -> None:
    written(store, tmp_path)
    frame = results(tracking_uri=store.location.uri)
    assert list(frame.groupby("label").task.apply(list)) == [["a", "b"], ["a", "b"]]
    row = frame[(frame.label == "dare[seed=3]") & (frame.task == "b")].iloc[0]
    assert (row.n, row.accuracy, row.seed) == (300, 0.5, 3)
    assert (row.low, row.high) == wilson_interval(150, 300)
    assert np.isnan(row.loss)
    assert frame[frame.label == "ties"].seed.isna().all()


def test_a_row_an_example_with_its_source(store: Store, tmp_path: Path) -> None:
    written(store, tmp_path)
    frame = results(per="example", tracking_uri=store.location.uri)
    ties = frame[(frame.label == "ties") & (frame.task == "a")]
    assert ties.correct.tolist() == right(400, 0.75).tolist()
    assert ties.cluster.tolist() == [str(i) for i in range(400)]
    assert frame[frame.task == "b"].cluster.isna().all()
