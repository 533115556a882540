"""Do two checkpoints fit each other, and what is done by request where they do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError, nearest, unknown_name
from fusion_bench.weights.checkpoint import Checkpoint, Factors, StateCheckpoint
from fusion_bench.weights.header import Spec
from fusion_bench.weights.renamed import Renamed
from fusion_bench.weights.spans import Span
from fusion_bench.weights.state_dict import StateDict
from fusion_bench.weights.tokens import by_token, check_tokens
from fusion_bench.weights.wrapped import Wrapped

OnMismatch: TypeAlias = Literal["error", "base", "pad", "tokens"]
"""``error``: refuse. ``base``: a tensor that does not fit is taken from the base, one too many is left out.
``pad``: an embedding with fewer rows than the base's gets the base's rows below its own; all else is refused.
``tokens``: rows of embeddings are put where the base has the same token, by the tokenizers beside the weights; tokens
that only one side has are the base's, or left out; all else is refused."""

_SHOWN = 3  # problems spelled out in one message; the rest are counted
_HINT = "fuse checkpoints of one architecture only, fine-tuned from the same base"


def fit(expert: Checkpoint, base: Checkpoint, *, on_mismatch: OnMismatch = "error") -> tuple[Checkpoint, list[str]]:
    """The expert with the tensors of the base, and what had to be done for that, in words.

    Raises:
        FusionBenchError: a tensor that is missing, too many, of another shape or sort of number, or a vocabulary whose
            ids are of other tokens, unless the policy covers it; the message names the tensors, both shapes and the
            nearest name.
    """
    if on_mismatch not in get_args(OnMismatch):
        raise unknown_name("on_mismatch", on_mismatch, get_args(OnMismatch))
    notes: list[str] = []
    if expert.specs is not base.specs:
        expert = _tied_alike(expert, base)
    if on_mismatch == "tokens":
        expert, notes = by_token(expert, base)
    if expert.specs is base.specs:  # the same headers, which say nothing of whose rows they are
        if on_mismatch != "tokens":
            check_tokens(expert, base)
        return expert, notes
    problems, misfits, substituted, padded = [], [], set(), {}
    for name, problem in _misfits(expert.specs, base.specs, base.label):
        found, spec = expert.specs.get(name), base.specs.get(name)
        if on_mismatch == "base":
            substituted.update([name] if spec is not None else [])
            done = "the base's is used" if spec is not None else "it is left out"
            notes.append(f"{expert.label}: {problem}; {done}")
        elif on_mismatch == "pad" and found is not None and spec is not None and _can_pad(found, spec):
            padded[name] = found
            notes.append(f"{expert.label}: tensor {name!r} has {found.shape[0]:,} rows, padded to {spec.shape[0]:,}")
        else:
            problems.append(problem)
            misfits.append((found, spec))
    if problems:
        raise _refusal(expert.label, base.label, problems, _advice(misfits))
    if on_mismatch != "tokens":
        check_tokens(expert, base, but=substituted)
    changed = on_mismatch in ("base", "pad") and notes
    return (Substituted(expert, base, substituted, padded) if changed else expert), notes


def check_compatible(
    base: StateDict, other: StateDict, *, name: str, base_name: str = "base", allow_extra: bool = False
) -> None:
    """Check that ``other`` has the tensors of ``base``: the same names, shapes and sort of numbers.

    Args:
        base: what is expected.
        other: what is checked.
        name: how messages call ``other`` (an expert, a file).
        base_name: how messages call ``base``.
        allow_extra: accept tensors that ``base`` has not.

    Raises:
        FusionBenchError: see ``fit``.

    Example:
        >>> check_compatible({"w": torch.zeros(2)}, {"w": torch.zeros(3)}, name="mnist")
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: mnist does not fit base: tensor 'w' has shape (3,), base has (2,)
          hint: fuse checkpoints of one architecture only, fine-tuned from the same base
    """
    found, expected = StateCheckpoint(other, label=name).specs, StateCheckpoint(base, label=base_name).specs
    problems = [text for key, text in _misfits(found, expected, base_name) if key in base or not allow_extra]
    if problems:
        raise _refusal(name, base_name, problems, _HINT)


def check_real(checkpoint: Checkpoint) -> None:
    """Refuse complex tensors, which no method here is defined for.

    Raises:
        FusionBenchError: there is one.
    """
    for name, spec in checkpoint.specs.items():
        if spec.dtype.is_complex:
            raise FusionBenchError(
                f"{checkpoint.place(name)}: tensor {name!r} is complex ({spec.dtype})", hint="fuse real tensors only"
            )


class Substituted(Wrapped):
    """An expert, but for the tensors that are the base's, wholly or from some row on."""

    def __init__(self, expert: Checkpoint, base: Checkpoint, taken: set[str], padded: dict[str, Spec]) -> None:
        super().__init__(expert)
        self._base, self._taken, self._padded = base, taken, padded
        self.specs = {
            name: base.specs[name] if name in taken else spec._replace(dtype=expert.specs[name].dtype)
            for name, spec in base.specs.items()
        }

    def gather(self, spans: Sequence[Span]) -> Tensor:
        if not any(name in self._taken or name in self._padded for name, _, _ in spans):
            return super().gather(spans)
        parts = [part for span in spans for part in self._parts(span)]
        return torch.cat([part.to(parts[0].dtype) for part in parts])

    def _parts(self, span: Span) -> Iterable[Tensor]:
        name, start, stop = span
        if name in self._taken:
            return [self._base.gather([span])]
        if name not in self._padded:
            return [self._inner.gather([span])]
        own = self._padded[name].numel
        found = [self._inner.gather([Span(name, start, min(stop, own))])] if start < own else []
        rest = [self._base.gather([Span(name, max(start, own), stop)])] if stop > own else []
        return [*found, *rest]

    def place(self, name: str) -> str:
        return self._base.place(name) if name in self._taken else super().place(name)

    def factors(self, name: str) -> Factors | None:
        return None if name in self._taken or name in self._padded else super().factors(name)

    @property
    def aliases(self) -> Mapping[str, str]:
        own = super().aliases  # of these, the ties that the base has too: rows of its own below it would part others
        return {
            name: first
            for name, first in self._base.aliases.items()
            if {name, first} <= self._taken or (own.get(name) == first and not {name, first} & self._taken)
        }


def _tied_alike(expert: Checkpoint, base: Checkpoint) -> Checkpoint:
    """The expert with the base's names for tensors that are tied in either."""
    names = {name: name for name in expert.specs}
    both_ways = [pair for alias, first in base.aliases.items() for pair in ((alias, first), (first, alias))]
    # the base has both names, the expert's file one of them
    names |= {one: other for one, other in both_ways if one not in expert.specs and other in expert.specs}
    both_ways = [pair for alias, first in expert.aliases.items() for pair in ((alias, first), (first, alias))]
    for one, other in both_ways:  # or the other way round
        if one not in base.specs and other in base.specs:
            names.pop(one, None)
    if len(names) == len(expert.specs):
        return expert
    ordered = [name for name in base.specs if name in names]  # of tied names the first counts, as it does in the base
    return Renamed(expert, {**{name: names[name] for name in ordered}, **names})


def _misfits(found: Mapping[str, Spec], expected: Mapping[str, Spec], base: str) -> Iterator[tuple[str, str]]:
    """Tensors that are missing, of another shape or sort of number, or too many; each with that in words."""
    extra = [name for name in found if name not in expected]
    for name, spec in expected.items():
        own = found.get(name)
        if own is None:
            yield name, f"tensor {name!r} {spec.shape} is missing{_meant(name, extra)}"
        elif own.shape != spec.shape:
            yield name, f"tensor {name!r} has shape {own.shape}, {base} has {spec.shape}"
        elif own.dtype != spec.dtype and own.dtype.is_floating_point != spec.dtype.is_floating_point:
            yield name, f"tensor {name!r} is {own.dtype}, {base} has {spec.dtype}"
    for name in extra:
        yield name, f"tensor {name!r} {found[name].shape} is not in {base}{_meant(name, expected)}"


def _differ_in_rows(found: Spec, spec: Spec) -> bool:
    return (
        len(found.shape) == len(spec.shape) == 2
        and found.shape[1:] == spec.shape[1:]
        and found.shape[0] != spec.shape[0]
        and found.dtype.is_floating_point == spec.dtype.is_floating_point
    )


def _can_pad(found: Spec, spec: Spec) -> bool:
    return _differ_in_rows(found, spec) and found.shape[0] < spec.shape[0]


def _advice(misfits: Sequence[tuple[Spec | None, Spec | None]]) -> str:
    """What can be done about tensors that do not fit, of the expert and of the base."""
    rows = [
        (found.shape[0], spec.shape[0])
        for found, spec in misfits
        if found is not None and spec is not None and _differ_in_rows(found, spec)
    ]
    if len(rows) < len(misfits):
        return _HINT
    larger = [(own, theirs) for own, theirs in rows if own > theirs]
    if not larger:
        return (
            "the vocabularies differ: on_mismatch='pad' gives the smaller one the base's rows, 'tokens' goes by the "
            "tokens of both"
        )
    own, theirs = larger[0]
    return (
        f"its vocabulary is larger by {own - theirs:,} rows, which on_mismatch='pad' does not cover: on_mismatch="
        "'tokens' keeps the rows of the base's tokens, by the tokenizers beside the weights; on_mismatch='base' takes "
        "these tensors from the base, with nothing of this expert's"
    )


def _refusal(label: str, base: str, problems: Sequence[str], hint: str) -> FusionBenchError:
    more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
    return FusionBenchError(f"{label} does not fit {base}: {'; '.join(problems[:_SHOWN])}{more}", hint=hint)


def _meant(name: str, choices: Iterable[str]) -> str:
    near = nearest(name, choices, count=1)
    return f" (nearest: {near[0]!r})" if near else ""
