"""Corruptions: seeded per picture, what their names say, and refused with a reason."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fusion_bench.datasets import corruption
from fusion_bench.datasets.corruption import COMMON, NAMES, SEVERITIES, corrupt, corrupt_all, versions
from fusion_bench.datasets.seeding import seed_of
from fusion_bench.errors import FusionBenchError

needs_library = pytest.mark.skipif(corruption.unavailable() is not None, reason=str(corruption.unavailable()))
RANDOM = tuple(n for n in NAMES if n not in {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
})  # fmt: skip


def picture(seed: int = 0, side: int = 32) -> np.ndarray:
    """A smooth coloured picture with a hard edge."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    base = np.stack([rows, columns, (rows + columns) / 2], axis=2) * 160 + rng.integers(20, 60, 3)
    base[side // 4 : side // 2, side // 3 :] = 230
    return base.astype(np.uint8)


@needs_library
def test_the_names_are_those_of_the_library() -> None:
    from imagecorruptions import get_corruption_names

    assert list(COMMON) == get_corruption_names("common")
    assert list(NAMES) == get_corruption_names("all")


@needs_library
@pytest.mark.parametrize("name", NAMES)
def test_every_corruption_is_a_function_of_picture_and_key(name: str) -> None:
    """Whatever the global random state is, and whatever was corrupted before."""
    for severity in SEVERITIES:
        np.random.seed(1)  # noqa: NPY002
        first = corrupt(picture(), name, severity, key=(0, "mnist", "test", 7))
        np.random.seed(2)  # noqa: NPY002
        corrupt(picture(5), name, severity, key=(0, "mnist", "test", 8))
        again = corrupt(picture(), name, severity, key=(0, "mnist", "test", 7))
        assert np.array_equal(first, again)
        assert first.dtype == np.uint8
        assert first.shape == (32, 32, 3)


@needs_library
@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("position", range(4))
def test_every_part_of_the_key_matters(name: str, position: int) -> None:
    key = [0, "mnist", "test", 7]
    other = [1, "letters", "validation", 8]
    other = [*key[:position], other[position], *key[position + 1 :]]
    assert not np.array_equal(
        corrupt(picture(), name, 5, key=tuple(key)), corrupt(picture(), name, 5, key=tuple(other))
    )


@needs_library
def test_severities_and_corruptions_draw_independently() -> None:
    """Noise of one severity is not the scaled noise of another."""
    flat = np.full((32, 32, 3), 128, np.uint8)
    weak, strong = (corrupt(flat, "gaussian_noise", s, key=("k",)).astype(float).ravel() - 128 for s in (1, 2))
    assert abs(np.corrcoef(weak, strong)[0, 1]) < 4 / np.sqrt(weak.size)


@needs_library
def test_numpys_global_state_is_left_as_it_was() -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(4)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    corrupt(picture(), "snow", 3, key=("k",))
    assert np.array_equal(np.random.random(4), expected)  # noqa: NPY002


@needs_library
def test_a_stack_is_corrupted_picture_by_picture() -> None:
    images = np.stack([picture(i).transpose(2, 0, 1) for i in range(4)])
    out = np.empty_like(images)
    corrupt_all(images, "frost", 2, out, key=(9, "task"))
    for index in (3, 0, 2):  # in any order
        expected = corrupt(picture(index), "frost", 2, key=(9, "task", index))
        assert np.array_equal(out[index], expected.transpose(2, 0, 1))


@needs_library
def test_noise_has_the_standard_deviation_of_the_paper() -> None:
    """ImageNet-C's Gaussian noise: 0.08, 0.12, 0.18, 0.26, 0.38 of the range, by its published code."""
    flat = np.full((64, 64, 3), 128, np.uint8)
    for severity, sigma in zip(SEVERITIES[:3], (0.08, 0.12, 0.18), strict=True):  # beyond these, clipping bites
        found = corrupt(flat, "gaussian_noise", severity, key=("k",)).astype(float) - 127.5
        assert found.std() / 255 == pytest.approx(sigma, rel=0.03)


@needs_library
@pytest.mark.parametrize("side", [32, 64, 224])
def test_pixelate_makes_blocks_of_the_picture_and_not_a_picture_of_fixed_size(side: int) -> None:
    """Severity 5 keeps a quarter of the side: blocks of 4x4 pixels, each the mean of what was there."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    found = corrupt(noise, "pixelate", 5, key=("k",))
    blocks = found.reshape(side // 4, 4, side // 4, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    means = noise.reshape(side // 4, 4, side // 4, 4, 3).mean(axis=(1, 3))
    assert np.abs(blocks[:, 0, :, 0] - means).max() <= 1  # rounded twice, along rows and along columns


@needs_library
def test_a_spatter_of_no_drop_is_drawn_again_and_is_no_black_picture() -> None:
    """The library divides 0 by 0 there and returns zeros; the first key that does so is found, not assumed."""
    from imagecorruptions import corrupt as library

    white = np.full((32, 32, 3), 255, np.uint8)
    for index in range(500):
        seed = seed_of(index, "spatter", 1, 0)
        np.random.seed([seed >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)])  # noqa: NPY002
        with np.errstate(all="ignore"):
            plain = library(white, 1, "spatter")
        ours = corrupt(white, "spatter", 1, key=(index,))
        assert ours.max() > 0
        if plain.max() == 0:
            return
        assert np.array_equal(plain, ours)
    pytest.fail("the library never failed: the second draw is not needed any more")


@needs_library
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_one_colour_are_corrupted_too(name: str, value: int) -> None:
    for severity in (1, 5):
        assert corrupt(np.full((32, 32, 3), value, np.uint8), name, severity, key=("k",)).shape == (32, 32, 3)


def test_what_cannot_be_corrupted_is_named() -> None:
    with pytest.raises(FusionBenchError, match=r"did you mean 'gaussian_noise'"):
        corrupt(picture(), "gausian_noise", 1, key=("k",))
    with pytest.raises(FusionBenchError, match="severities are 1, 2, 3, 4 and 5"):
        corrupt(picture(), "fog", 6, key=("k",))
    with pytest.raises(FusionBenchError, match="32x32 pixels or more, not 28x28"):
        corrupt(picture(side=28), "fog", 1, key=("k",))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    assert "fusion-bench-suite[robustness]" in str(corruption.unavailable())
    with pytest.raises(FusionBenchError, match=r"(?s)cannot be imported.*fusion-bench-suite\[robustness\]"):
        corrupt(picture(), "fog", 1, key=("k",))


@needs_library
def test_versions_name_what_computes_the_pixels() -> None:
    from importlib.metadata import version

    assert versions()["imagecorruptions-imaug"] == version("imagecorruptions-imaug")
    assert set(versions()) == {"imagecorruptions-imaug", "numpy", "opencv-python", "pillow", "scikit-image", "scipy"}
