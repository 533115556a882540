"""Arrays in Parquet: as the hub's data sets hold them, in any batches, cut and in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion_bench.datasets.arrays import as_array, open_arrays
from fusion_bench.datasets.stored import held_out_parts
from fusion_bench.errors import FusionBenchError
from tests.helpers.tiny_dense import SIZE, write_scenes


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("arrays")
    return root, write_scenes(root / "owner" / "rooms", {"train": 21, "val": 7})


def joined(batches: Any, column: str) -> np.ndarray:
    return np.concatenate([batch[column] for batch in batches])


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_are_what_was_written(hub: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    root, written = hub
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(root))
    split = open_arrays("owner/rooms", "val")
    assert (split.size, len(split.files)) == (7, 2)
    assert set(split.columns) == {"image", "segmentation", "depth", "normal"}
    batches = list(split.batches(["image", "segmentation"], size))
    assert [len(batch["image"]) for batch in batches] == [size] * (7 // size) + ([7 % size] if 7 % size else [])
    for column in ("image", "segmentation"):
        found = joined(batches, column)
        assert found.dtype == written["val"][column].dtype
        assert np.array_equal(found, written["val"][column])
    assert batches[0]["image"].shape[1:] == (3, *SIZE)


def test_what_is_held_out_is_cut_from_the_training_split(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, written = hub
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(root))
    shares = {"validation": 0.2, "adaptation": 0.1}
    parts = held_out_parts(21, shares)
    for name, rows in parts.items():
        split = open_arrays("owner/rooms", name, held_out=shares)
        assert split.size == len(rows)
        assert np.array_equal(joined(split.batches(["depth"], 4), "depth"), written["train"]["depth"][rows])


def test_plain_lists_in_a_folder_do_as_well(tmp_path: Path) -> None:
    arrays = np.arange(5 * 2 * 3, dtype=np.float64).reshape(5, 2, 3)
    pq.write_table(pa.table({"a": arrays.tolist()}), tmp_path / "test.parquet", row_group_size=2)
    found = list(open_arrays(tmp_path, "test").batches(["a"], 2))
    assert np.array_equal(joined(found, "a"), arrays)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6)), 3)
    assert as_array(fixed).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert as_array(fixed.slice(1)).tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[[1, 2]], [[1, 2], [3, 4]]], "holds lists of 1 and 2"),
        ([[[1, 2]], None], "holds a null"),
        ([[[1, None]]], "holds nulls"),
        ([[["a"]]], "holds string, no numbers"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, rows: Any, message: str) -> None:
    pq.write_table(pa.table({"a": rows}), tmp_path / "test.parquet")
    with pytest.raises(FusionBenchError, match=message):
        list(open_arrays(tmp_path, "test").batches(["a"], 8))


def test_pictures_of_two_sizes_in_different_batches_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1.0], [2.0], [1.0, 2.0], [3.0, 4.0]]}), tmp_path / "test.parquet")
    with pytest.raises(FusionBenchError, match=r"arrays of the shapes \(1,\) and \(2,\)"):
        list(open_arrays(tmp_path, "test").batches(["a"], 2))


def test_files_that_are_damaged_or_lack_a_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1.0]] * 3000}), tmp_path / "test.parquet")
    split = open_arrays(tmp_path, "test")
    with pytest.raises(FusionBenchError, match="no column 'b'") as caught:
        list(split.batches(["b"], 2))
    assert "its columns are a" in str(caught.value)
    whole = (tmp_path / "test.parquet").read_bytes()
    (tmp_path / "test.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FusionBenchError, match="cannot read"):
        open_arrays(tmp_path, "test")
    with pytest.raises(FusionBenchError, match="cannot read"):
        list(split.batches(["a"], 2))
    with pytest.raises(FusionBenchError, match="no split file"):
        open_arrays(tmp_path, "train")
