"""Which token each row of an embedding is of, and an expert's rows in the order of its base's tokens."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import TOKENIZERS, Checkpoint, Factors, tokenizer_in
from fusion_bench.weights.spans import Span
from fusion_bench.weights.wrapped import Wrapped

Vocabulary = Mapping[str, int]
"""Tokens to ids, which are rows."""

_SHOWN = 3
_TO_DO = "on_mismatch='tokens' puts its rows where the base has the same tokens"


def read_vocabulary(folder: Path) -> Vocabulary | None:
    """The tokens of the tokenizer in a folder, added ones among them; None where there is none that is read here.

    Read are ``tokenizer.json``, ``vocab.json`` and ``vocab.txt``; sentencepiece's own files are not.

    Raises:
        FusionBenchError: a file that is damaged.
    """
    path = tokenizer_in(folder)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return {token: row for row, token in enumerate(text.removesuffix("\n").split("\n"))}
        content = json.loads(text)
        if path.name == "vocab.json":
            more = folder / "added_tokens.json"
            return {**content, **(json.loads(more.read_text(encoding="utf-8")) if more.is_file() else {})}
        model = content["model"]["vocab"]
        pieces = model if isinstance(model, dict) else {token: row for row, (token, *_) in enumerate(model)}
        return {**pieces, **{added["content"]: added["id"] for added in content.get("added_tokens", ())}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FusionBenchError(f"{path} is no tokenizer that can be read: {error!r}", hint="fetch it again") from error


def moved(expert: Vocabulary, base: Vocabulary) -> list[str]:
    """Tokens that both have, at other ids.

    Example:
        >>> moved({"a": 0, "b": 2, "c": 1}, {"a": 0, "b": 1})
        ['b']
    """
    return [token for token, row in expert.items() if base.get(token, row) != row]


def check_tokens(expert: Checkpoint, base: Checkpoint, *, but: Container[str] = ()) -> None:
    """Check that no row of the expert is another token's than the base's; where a tokenizer is not known, nothing is.

    Args:
        but: tensors that are not the expert's.

    Raises:
        FusionBenchError: some are, with tokens and ids.
    """
    first, second = expert.tokenizer, base.tokenizer
    if first is None or second is None or first == second or _same(first, second):
        return
    own, theirs = read_vocabulary(first.parent) or {}, read_vocabulary(second.parent) or {}
    wrong = moved(own, theirs)
    # of tensors without a row a token nothing is said
    if wrong and any(name not in but for name in _with_rows(base, _vocab_size(base) or max(theirs.values()) + 1)):
        shown = ", ".join(f"{token!r} is {own[token]:,} and was {theirs[token]:,}" for token in wrong[:_SHOWN])
        more = f" (and {len(wrong) - _SHOWN:,} more)" if len(wrong) > _SHOWN else ""
        raise FusionBenchError(
            f"{expert.label} has other ids for tokens of {base.label}: {shown}{more}: rows of their embeddings are of "
            "different tokens",
            hint=_TO_DO,
        )


def by_token(expert: Checkpoint, base: Checkpoint) -> tuple[Checkpoint, list[str]]:
    """The expert with rows for the base's tokens: its own where it has the token, the base's where not.

    Tokens that only the expert has are left out. What has a row a token are the tensors with as many rows as
    ``vocab_size`` in each ``config.json`` says.

    Raises:
        FusionBenchError: a tokenizer or a configuration that is not there.
    """
    if expert.tokenizer == base.tokenizer or (expert.tokenizer is None and _shapes(expert) == _shapes(base)):
        return expert, []  # its rows are the base's, as far as anything says
    own, theirs = _known(expert), _known(base)
    if own == theirs and _shapes(expert) == _shapes(base):
        return expert, []
    many, count = (_known_size(checkpoint) for checkpoint in (expert, base))
    elsewhere = [name for name, spec in base.specs.items() if count in spec.shape[1:]]
    if elsewhere:
        raise FusionBenchError(
            f"{base.label}: its vocabulary has {count:,} tokens, and so many are also columns of {elsewhere[0]!r}: "
            "which tensors have a row a token cannot be told",
            hint="choose another on_mismatch",
        )
    rows = [-1] * count
    for token, row in theirs.items():
        found = own.get(token, -1)
        if row < count and found < many:
            rows[row] = found
    mine = set(_with_rows(expert, many))
    names = [
        name
        for name in _with_rows(base, count)
        if name in mine and base.specs[name].shape[1:] == expert.specs[name].shape[1:]
    ]
    if not names:
        raise FusionBenchError(
            f"{expert.label} and {base.label} have no tensors of {many:,} and {count:,} rows, their vocabularies",
            hint="config.json and the weights are not of one model",
        )
    if rows == list(range(count)) == list(range(many)):
        return expert, []
    kept, lost = sum(row >= 0 for row in rows), len(set(own) - set(theirs))
    note = f"{expert.label}: {kept:,} of {count:,} rows by token, the others the base's; {lost:,} tokens left out"
    return ByToken(expert, base, names, rows), [note]


class ByToken(Wrapped):
    """An expert some of whose tensors have other rows of its own, and rows of the base where it has none.

    Args:
        names: of those tensors.
        rows: for each of the base's rows the expert's, -1 where it has none.
    """

    def __init__(self, expert: Checkpoint, base: Checkpoint, names: Iterable[str], rows: Sequence[int]) -> None:
        super().__init__(expert)
        self._base, self._names, self._stretches = base, frozenset(names), stretches(rows)
        self._starts = [stretch.start for stretch in self._stretches]
        self.specs = {
            name: spec._replace(shape=base.specs[name].shape) if name in self._names else spec
            for name, spec in expert.specs.items()
        }

    def gather(self, spans: Sequence[Span]) -> Tensor:
        if not any(span.name in self._names for span in spans):
            return super().gather(spans)
        parts = [part for span in spans for part in self._parts(span)]
        return torch.cat([part.to(self.specs[spans[0].name].dtype) for part in parts])

    def _parts(self, span: Span) -> Iterator[Tensor]:
        name, start, stop = span
        if name not in self._names:
            yield self._inner.gather([span])
            return
        shape = self.specs[name].shape
        width = shape[1] if len(shape) == 2 else 1
        at = bisect_right(self._starts, start // max(width, 1)) - 1
        while start < stop:
            stretch = self._stretches[at]
            end = min(stop, stretch.stop * width)
            source, shift = (self._base, 0) if stretch.row < 0 else (self._inner, stretch.row - stretch.start)
            yield source.gather([Span(name, start + shift * width, end + shift * width)])
            start, at = end, at + 1

    def factors(self, name: str) -> Factors | None:
        return None if name in self._names else super().factors(name)

    @property
    def tokenizer(self) -> Path | None:
        return self._base.tokenizer


class Stretch(NamedTuple):
    """Rows ``start`` to ``stop`` that are another tensor's from ``row`` on, or none of it where that is -1."""

    start: int
    stop: int
    row: int


def stretches(rows: Sequence[int]) -> list[Stretch]:
    """Rows that follow one another, joined.

    Example:
        >>> [tuple(stretch) for stretch in stretches([0, 1, -1, -1, 2])]
        [(0, 2, 0), (2, 4, -1), (4, 5, 2)]
    """
    found: list[Stretch] = []
    for at, row in enumerate(rows):
        if found:
            start, stop, first = found[-1]
            if row == (first if first < 0 else first + stop - start):
                found[-1] = Stretch(start, at + 1, first)
                continue
        found.append(Stretch(at, at + 1, row))
    return found


def _known(checkpoint: Checkpoint) -> Vocabulary:
    path = checkpoint.tokenizer
    found = None if path is None else read_vocabulary(path.parent)
    if found is None:
        raise FusionBenchError(
            f"{checkpoint.label} has no tokenizer beside its weights: its rows cannot be told by token",
            hint=f"put {' or '.join(TOKENIZERS)} there, or choose another on_mismatch",
        )
    return found


def _vocab_size(checkpoint: Checkpoint) -> int | None:
    path = checkpoint.tokenizer
    if path is None:
        return None
    try:
        content = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
        return int(content.get("vocab_size") or content["text_config"]["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _known_size(checkpoint: Checkpoint) -> int:
    found = _vocab_size(checkpoint)
    if found is None:
        raise FusionBenchError(
            f"{checkpoint.label} has no config.json that says its vocab_size: its rows cannot be told by token",
            hint="put the model's config.json beside its weights",
        )
    return found


def _with_rows(checkpoint: Checkpoint, count: int) -> list[str]:
    """Tensors that have so many rows, or entries."""
    return [
        name
        for name, spec in checkpoint.specs.items()
        if 0 < len(spec.shape) <= 2 and spec.shape[0] == count and spec.dtype.is_floating_point
    ]


def _shapes(checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: spec.shape for name, spec in checkpoint.specs.items()}


def _same(first: Path, second: Path) -> bool:
    return first.name == second.name and first.read_bytes() == second.read_bytes()
