"""Pictures corrupted as in ImageNet-C, by the library ``imagecorruptions-imaug`` (the extra ``robustness``).

Its severities are numbers of pixels and of grey levels that were set for pictures of 224x224 pixels; they act on the
picture as it is given. On one of 32x32 pixels the blurs, which are counted in pixels, are seven times as wide.

Source: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
arXiv 1903.12261; the library: Michaelis et al. 2019, arXiv 1907.07484, maintained by imaug.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from fusion_bench.datasets.seeding import seed_of
from fusion_bench.errors import FusionBenchError, unknown_name

LIBRARY = "imagecorruptions-imaug"

#: The fifteen of the benchmark, and the four that its authors set aside for validation.
COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
NAMES = (*COMMON, *EXTRA)
SEVERITIES = (1, 2, 3, 4, 5)

#: The library refuses smaller pictures.
SMALLEST = 32

#: What computes the pixels: another version of any of these may round differently.
_PARTS = (LIBRARY, "numpy", "opencv-python", "pillow", "scikit-image", "scipy")
_OWN_SEED = frozenset({"impulse_noise", "glass_blur"})  # these take a seed; the others draw from numpy's global state
_ATTEMPTS = 100


def unavailable() -> str | None:
    """Why pictures cannot be corrupted here, and what to do; None where they can."""
    try:
        import imagecorruptions  # noqa: F401
    except ImportError as error:
        return (
            f"needs {LIBRARY}, which cannot be imported ({error}); pip install 'fusion-bench-suite[robustness]', "
            "and where only libGL is missing, opencv-python-headless in place of opencv-python"
        )
    return None


def require_library() -> None:
    """Refuse to go on without the library.

    Raises:
        FusionBenchError: it is not installed, or cannot be imported; with the reason.
    """
    reason = unavailable()
    if reason is not None:
        raise FusionBenchError(f"corrupting pictures {reason.partition('; ')[0]}", hint=reason.partition("; ")[2])


def versions() -> dict[str, str]:
    """The libraries that the pixels depend on, with their versions, by name.

    Example:
        >>> sorted(versions())[-1]
        'scipy'
    """
    found = {}
    for name in _PARTS:
        for package in (name, f"{name}-headless"):
            try:
                found[name] = version(package)
                break
            except PackageNotFoundError:
                continue
    return found


def corrupt(picture: np.ndarray, name: str, severity: int, *, key: tuple[str | int, ...]) -> np.ndarray:
    """One corrupted picture; the same for the same key, whatever was corrupted before.

    A draw that the library cannot finish is drawn again, with the number of the attempt in its seed: a spatter of no
    drop at all ends in 0/0, which it would return as a black picture.

    Args:
        picture: uint8 ``(h, w, 3)``, at least 32 pixels a side.
        name: one of `NAMES`.
        severity: 1 to 5.
        key: what the randomness is for, for instance (seed, task, split, index).

    Returns:
        uint8 ``(h, w, 3)``.

    Raises:
        FusionBenchError: an unknown corruption or severity, a picture that is too small, or no library.

    Example:
        >>> corrupt(np.zeros((32, 32, 3), np.uint8), "fogg", 3, key=(0, "mnist", "test", 7))
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: unknown corruption 'fogg'
          hint: did you mean 'fog'? There are: ...
    """
    with _kept_global_state():
        return _corrupted(picture, name, severity, key)


def corrupt_all(
    images: np.ndarray, name: str, severity: int, out: np.ndarray, *, key: tuple[str | int, ...] = ()
) -> None:
    """Each of ``images`` corrupted into ``out``, both uint8 ``(n, 3, h, w)``; picture i has the key ``(*key, i)``."""
    with _kept_global_state():
        for index, image in enumerate(images):
            picture = np.ascontiguousarray(image.transpose(1, 2, 0))
            out[index] = _corrupted(picture, name, severity, (*key, index)).transpose(2, 0, 1)


def _corrupted(picture: np.ndarray, name: str, severity: int, key: tuple[str | int, ...]) -> np.ndarray:
    if name not in NAMES:
        raise unknown_name("corruption", name, NAMES)
    if severity not in SEVERITIES:
        raise FusionBenchError(f"severity {severity!r} of {name}", hint="severities are 1, 2, 3, 4 and 5")
    if min(picture.shape[:2]) < SMALLEST:
        size = "x".join(map(str, picture.shape[:2]))
        raise FusionBenchError(f"{name} needs pictures of {SMALLEST}x{SMALLEST} pixels or more, not {size}")
    require_library()
    from imagecorruptions import corrupt as library

    for attempt in range(_ATTEMPTS):
        seed = seed_of(*key, name, severity, attempt)
        np.random.seed([seed >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)])  # noqa: NPY002 - the library's
        options: dict[str, Any] = {"seed": seed & 0xFFFFFFFF} if name in _OWN_SEED else {}
        try:
            with np.errstate(divide="raise", invalid="raise"):
                found: np.ndarray = library(picture, severity, name, **options)
        except FloatingPointError:
            continue
        return found
    raise FusionBenchError(f"{name} of severity {severity} failed {_ATTEMPTS} times on the picture {key}")


@contextmanager
def _kept_global_state() -> Iterator[None]:
    """numpy's global random state, which the library draws from, put back as it was."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
