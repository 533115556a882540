"""Splits made by what must be new at test time, and the search for near-duplicates across them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from fusion_bench.zoo.pictures import Pictures

#: Above this centred correlation two pictures count as the same drawing (also when one is mirrored).
NEAR_DUPLICATE = 0.97

SPLITS = ("shots", "train", "validation", "adaptation", "test")
HELD_OUT = ("validation", "adaptation", "test")


def split_by_group(
    pictures: Pictures, sizes: Mapping[str, int], *, shots: int, seed: int, official_test: bool = False
) -> dict[str, Pictures]:
    """Deal whole groups, in a seeded order, to test, validation and adaptation until each has its size.

    ``shots`` pictures of each class go to the split ``shots`` (seen, with its caption, in pretraining); what remains is
    ``train``. With ``official_test`` the groups called ``test-…`` are dealt to the test split and to nothing else.
    """
    names = np.unique(pictures.groups)
    order = sorted(names.tolist(), key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
    members = (
        {name: np.flatnonzero(pictures.groups == name) for name in names} if len(names) < 4000 else _members(pictures)
    )
    dealt: dict[str, list[int]] = {name: [] for name in SPLITS}
    wanted = np.full(len(pictures.classes), shots)
    for group in order:
        rows = members[group]
        labels = pictures.labels[rows]
        if official_test and group.startswith("test-"):
            if len(dealt["test"]) < sizes["test"]:
                dealt["test"].extend(rows)
            continue
        target = next((s for s in HELD_OUT if len(dealt[s]) < sizes[s] and not (official_test and s == "test")), None)
        if (wanted[labels] > 0).any():  # the first groups that still show a class too seldom seen
            for row in rows:
                if wanted[pictures.labels[row]] > 0:
                    dealt["shots"].append(int(row))
                    wanted[pictures.labels[row]] -= 1
        elif target is not None:
            dealt[target].extend(rows)
        else:
            dealt["train"].extend(rows)
    return {name: pictures.take(np.sort(np.asarray(rows, np.int64))) for name, rows in dealt.items()}


def _members(pictures: Pictures) -> dict[str, np.ndarray]:
    order = np.argsort(pictures.groups, kind="stable")
    names, starts = np.unique(pictures.groups[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))


def drop_near_duplicates(splits: Mapping[str, Pictures]) -> tuple[dict[str, Pictures], dict[str, int]]:
    """Remove held-out pictures that have a near-duplicate in an earlier split; returns what is left and the counts."""
    seen = [splits["shots"].images, splits["train"].images]
    kept, dropped = dict(splits), {}
    for name in HELD_OUT:
        fresh = nearest_correlation(splits[name].images, np.concatenate(seen)) <= NEAR_DUPLICATE
        kept[name] = splits[name].take(np.flatnonzero(fresh))
        dropped[name] = int((~fresh).sum())
        seen.append(kept[name].images)
    return kept, dropped


def nearest_correlation(images: np.ndarray, others: np.ndarray, *, chunk: int = 4096) -> np.ndarray:
    """For each image the highest centred correlation, on grey pixels, with any of ``others`` or its mirror image.

    Args:
        images: uint8 ``(n, 32, 32, 3)``.
        others: uint8 ``(m, 32, 32, 3)``; with ``m = 0`` the result is -1 everywhere.

    Example:
        >>> picture = np.zeros((1, 32, 32, 3), np.uint8)
        >>> picture[0, :, :9] = 200
        >>> nearest_correlation(picture, picture[:, :, ::-1]).round(3).tolist()
        [1.0]
    """
    best = np.full(len(images), -1.0, np.float32)
    query = np.concatenate([_centred(images), _centred(images[:, :, ::-1])])
    for start in range(0, len(others), chunk):
        scores = (query @ _centred(others[start : start + chunk]).T).max(axis=1)
        best = np.maximum(best, np.maximum(scores[: len(images)], scores[len(images) :]))
    return best


def _centred(images: np.ndarray) -> np.ndarray:
    grey = images.astype(np.float32).mean(axis=3).reshape(len(images), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)


def share_no_group(splits: Mapping[str, Pictures], names: Sequence[str] = HELD_OUT) -> bool:
    """Whether no group of the held-out splits is in any other split."""
    for name in names:
        mine = set(splits[name].groups.tolist())
        if any(mine & set(other.groups.tolist()) for key, other in splits.items() if key != name):
            return False
    return True
