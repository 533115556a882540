"""Images are decoded once, by one process, and never left half-written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.datasets import ImageCache, open_split
from fusion_bench.datasets.splits import decode
from fusion_bench.errors import FusionBenchError

SHAPE = (3, 3, 4, 4)


def test_filled_once_then_mapped_read_only(tmp_path: Path) -> None:
    calls = []

    def fill(out: np.ndarray) -> None:
        calls.append(1)
        out[:] = 7

    for _ in range(2):
        images = ImageCache(tmp_path).images("data", {"size": 4}, SHAPE, fill)
        assert (images == 7).all()
    assert len(calls) == 1
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 1


def test_another_transform_or_other_data_is_another_array(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    made = [
        cache.images(data, {"size": size}, SHAPE, lambda out, value=value: out.fill(value))[0, 0, 0, 0]
        for value, (data, size) in enumerate([("a", 4), ("b", 4), ("a", 5)])
    ]
    assert made == [0, 1, 2]


def test_a_failing_fill_leaves_nothing(tmp_path: Path) -> None:
    def fill(out: np.ndarray) -> None:
        raise RuntimeError("bad picture")

    with pytest.raises(RuntimeError, match="bad picture"):
        ImageCache(tmp_path).images("data", {}, SHAPE, fill)
    assert [p.name for p in (tmp_path / "images").iterdir() if p.suffix != ".lock"] == []


def test_a_damaged_array_is_made_again(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.images("data", {}, SHAPE, lambda out: out.fill(1))
    (path,) = (tmp_path / "images").glob("*.npy")
    path.write_bytes(path.read_bytes()[:40])
    assert (cache.images("data", {}, SHAPE, lambda out: out.fill(2)) == 2).all()


def test_altered_pixels_are_decoded_again(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.images("data", {}, SHAPE, lambda out: out.fill(1))
    (path,) = (tmp_path / "images").glob("*.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    assert (cache.images("data", {}, SHAPE, lambda out: out.fill(2)) == 2).all()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file in the way")
    with pytest.raises(FusionBenchError, match="FUSION_BENCH_CACHE"):
        ImageCache(tmp_path).images("data", {}, SHAPE, lambda out: None)


def test_an_error_of_what_is_kept_is_none_of_the_cache(tmp_path: Path) -> None:
    def fill(out: np.ndarray) -> None:
        raise OSError("cannot identify image file")

    with pytest.raises(OSError, match=r"^cannot identify image file$"):
        ImageCache(tmp_path).images("data", {}, SHAPE, fill)
    assert (ImageCache(tmp_path).images("data", {}, SHAPE, lambda out: out.fill(3)) == 3).all()  # no lock is left


def encoded(value: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(value).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize("damaged", [{"bytes": b"nonsense"}, {"bytes": encoded(1)[:3000]}, None])
def test_a_damaged_picture_is_told_with_its_row(tmp_path: Path, damaged: dict[str, bytes] | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": encoded(0)}, damaged], type=cell)
    pq.write_table(pa.table({"image": rows, "label": [0, 1]}), tmp_path / "test.parquet")
    out = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(FusionBenchError, match=rf"{tmp_path.name} \(test\): the picture in row 1"):
        decode(open_split(tmp_path, "test"), np.asarray, out)
    assert out[0].any()
