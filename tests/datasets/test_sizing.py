"""Pictures of any size become squares: which pixels are looked at, and what names the result in the cache."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fusion_bench.datasets.sizing import Sizing, preprocess
from fusion_bench.errors import FusionBenchError


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards: a pixel says where it was."""
    across = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    down = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([across, down, 0 * down], axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("sizing", "left", "right"),
    [
        (Sizing(20), 0.25, 0.75),  # of 80 x 40, the middle half
        (Sizing(20, shorter=25), 0.3, 0.7),  # the middle 20 of 50
        (Sizing(20, warped=True), 0.0, 1.0),
    ],
)
def test_which_part_of_a_picture_is_seen(sizing: Sizing, left: float, right: float) -> None:
    found = preprocess(gradient(80, 40), sizing)
    assert found.shape == (3, 20, 20)
    assert found.dtype == np.uint8
    step = 255 * (right - left) / 20
    assert found[0, 10, 0] == pytest.approx(255 * left + step / 2, abs=4)
    assert found[0, 10, -1] == pytest.approx(255 * right - step / 2, abs=4)


def test_a_square_of_the_right_size_is_left_as_it_is() -> None:
    picture = gradient(20, 20)
    assert np.array_equal(preprocess(picture, 20), np.asarray(picture).transpose(2, 0, 1))
    cut = preprocess(picture, Sizing(10, shorter=20))
    assert np.array_equal(cut, np.asarray(picture).transpose(2, 0, 1)[:, 5:15, 5:15])


def test_ways_of_preparing_have_names_of_their_own() -> None:
    ways = [Sizing(20), Sizing(21), Sizing(20, 25), Sizing(20, 26), Sizing(20, warped=True), Sizing(20, 25, "bilinear")]
    assert len({str(way.facts()) for way in ways}) == len(ways)
    assert Sizing(20).facts() == Sizing(20, shorter=20).facts()


def test_an_unknown_interpolation() -> None:
    with pytest.raises(FusionBenchError, match="did you mean 'bicubic'"):
        Sizing(20, resample="bicubik")  # type: ignore[arg-type]
