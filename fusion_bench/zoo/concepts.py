"""What the image tower is pretrained to name: per domain, the captions or words frequent enough to be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fusion_bench.zoo.corpus import Corpus
from fusion_bench.zoo.pictures import Pictures

#: How a caption becomes targets: as a whole, or word by word.
WHOLE = frozenset({"chinese", "kana", "latin"})
#: Domains that compete in one softmax.
TOGETHER = {"clipart": "icon"}
#: Share of every batch.
MIXTURE = {"icon": 0.36, "glyph": 0.14, "chinese": 0.12, "kana": 0.04, "hangul": 0.1, "latin": 0.12, "tasks": 0.12}
_MINIMUM = {"icon": 20, "glyph": 12, "hangul": 2, "chinese": 2, "kana": 2, "latin": 2}
_EMPTY_WORDS = frozenset({"with", "of", "the", "and", "letter", "in", "to", "for", "by", "at", "from"})


@dataclass(frozen=True)
class Concepts:
    """One softmax per domain over ``columns[domain]`` names; ``rows[domain]`` lists its pictures in the image array.

    ``targets`` is a dense ``(n, width)`` array of column numbers (within the domain), padded with -1.
    """

    images: np.ndarray
    targets: np.ndarray
    columns: dict[str, tuple[str, ...]]
    rows: dict[str, np.ndarray]

    @property
    def offsets(self) -> dict[str, int]:
        """The first column of each domain in the table of all of them."""
        starts, total = {}, 0
        for name, names in self.columns.items():
            starts[name] = total
            total += len(names)
        return starts


def build_concepts(corpus: Corpus, shots: Mapping[str, Pictures], *, width: int = 6) -> Concepts:
    """The corpus and, as domains of their own, the few captioned pictures of each task."""
    domains = np.array([TOGETHER.get(name, name) for name in corpus.domains.tolist()])
    columns: dict[str, tuple[str, ...]] = {}
    rows: dict[str, np.ndarray] = {}
    targets = np.full((len(corpus.images) + sum(map(len, shots.values())), width), -1, np.int64)
    for domain in sorted(set(domains.tolist())):
        index = np.flatnonzero(domains == domain)
        split = [_concepts_of(corpus.captions[i], domain) for i in index]
        count = Counter(name for names in split for name in set(names))
        kept = sorted(name for name, times in count.items() if times >= _MINIMUM[domain])
        number = {name: k for k, name in enumerate(kept)}
        used = []
        for row, names in zip(index, split, strict=True):
            known = [number[name] for name in dict.fromkeys(names) if name in number][:width]
            if known:
                targets[row, : len(known)] = known
                used.append(row)
        columns[domain], rows[domain] = tuple(kept), np.asarray(used)
    start = len(corpus.images)
    for task, pictures in shots.items():
        columns[f"task:{task}"] = pictures.classes
        rows[f"task:{task}"] = np.arange(start, start + len(pictures))
        targets[start : start + len(pictures), 0] = pictures.labels
        start += len(pictures)
    images = np.concatenate([corpus.images, *[p.images for p in shots.values()]])
    return Concepts(images, targets, columns, rows)


def _concepts_of(caption: str, domain: str) -> list[str]:
    return [caption] if domain in WHOLE else [word for word in caption.split() if word not in _EMPTY_WORDS]
