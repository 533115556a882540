"""Rows of embeddings by token: against a plain dictionary of rows, in memory, streamed, and through pools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import fusion_bench
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights import open_checkpoint
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.fitting import fit
from fusion_bench.weights.renamed import renamed
from fusion_bench.weights.spans import Span
from fusion_bench.weights.tokens import ByToken, moved, read_vocabulary, stretches

WIDTH = 4


def write(folder: Path, tokens: list[str], *, seed: int, rows: int | None = None, kind: str = "tokenizer.json") -> Path:
    """A model of an embedding, a head and a bias with a row a token, and a layer that has nothing to do with them."""
    folder.mkdir(parents=True)
    size = rows or len(tokens)
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed.weight": (size, WIDTH), "head.weight": (size, WIDTH), "head.bias": (size,), "layer": (3, WIDTH)}
    state = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"vocab_size": size}))
    ids = {token: row for row, token in enumerate(tokens)}
    contents: dict[str, Any] = {
        "tokenizer.json": {
            "model": {"vocab": dict(list(ids.items())[:3])},
            "added_tokens": [{"content": token, "id": row} for token, row in list(ids.items())[3:]],
        },
        "vocab.json": ids,
    }
    text = "\n".join(tokens) if kind == "vocab.txt" else json.dumps(contents[kind])
    (folder / kind).write_text(text)
    return folder


def by_hand(base: Path, base_tokens: list[str], expert: Path, tokens: list[str]) -> dict[str, torch.Tensor]:
    found, own = load_file(base / "model.safetensors"), load_file(expert / "model.safetensors")
    for name in ("embed.weight", "head.weight", "head.bias"):
        for row, token in enumerate(base_tokens):
            if token in tokens:
                found[name][row] = own[name][tokens.index(token)]
    return {**found, "layer": own["layer"]}


BASE = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.json", "vocab.txt"])
@pytest.mark.parametrize(
    "tokens", [["a", "b", "c", "d", "e", "f", "g"], ["e", "c", "x", "a"], ["d", "c", "b", "a", "e"]]
)
def test_rows_go_where_the_base_has_the_token(tmp_path: Path, tokens: list[str], kind: str) -> None:
    base = write(tmp_path / "base", BASE, seed=0, rows=6, kind=kind)  # one row more than tokens, as real models have
    expert = write(tmp_path / "expert", tokens, seed=1, kind=kind)
    fitted, notes = fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")
    wanted = by_hand(base, BASE, expert, tokens)
    assert {name: fitted[name].shape for name in fitted} == {name: wanted[name].shape for name in wanted}
    for name in wanted:
        assert torch.equal(fitted[name], wanted[name]), name
    assert f"{len(set(BASE) & set(tokens))} of 6 rows by token" in notes[0]
    assert f"{len(set(tokens) - set(BASE))} tokens left out" in notes[0]


def test_a_merge_of_files(tmp_path: Path) -> None:
    tokens = ["b", "a", "c", "new", "d", "e"]
    base, expert = write(tmp_path / "base", BASE, seed=0), write(tmp_path / "expert", tokens, seed=1)
    fusion_bench.merge("simple_average", base=base, experts=[expert], out=tmp_path / "out", on_mismatch="tokens")
    found, wanted = load_file(tmp_path / "out" / "model.safetensors"), by_hand(base, BASE, expert, tokens)
    for name in wanted:
        assert torch.allclose(found[name], wanted[name])


def test_ids_of_other_tokens_are_refused_and_renamed_ones_are_not(tmp_path: Path) -> None:
    base = write(tmp_path / "base", BASE, seed=0)
    swapped = open_checkpoint(write(tmp_path / "swapped", ["b", "a", "c", "d", "e"], seed=1))
    for policy in ("error", "pad", "base"):
        with pytest.raises(
            FusionBenchError, match=r"'b' is 0 and was 1, 'a' is 1 and was 0.*different tokens"
        ) as error:
            fit(swapped, open_checkpoint(base), on_mismatch=policy)
        assert "on_mismatch='tokens'" in str(error.value.hint)
    renamed = open_checkpoint(write(tmp_path / "renamed", ["a", "b", "c", "d", "<|chat|>"], seed=2))
    assert fit(renamed, open_checkpoint(base))[1] == []
    (tmp_path / "swapped" / "tokenizer.json").unlink()
    swapped = open_checkpoint(tmp_path / "swapped")
    assert fit(swapped, open_checkpoint(base))[1] == []  # nothing is known of its tokens


def test_the_same_tokens_need_nothing(tmp_path: Path) -> None:
    base, expert = (write(tmp_path / name, BASE, seed=seed) for seed, name in enumerate(("base", "expert")))
    opened = open_checkpoint(expert)
    assert fit(opened, open_checkpoint(base), on_mismatch="tokens") == (opened, [])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    base, expert = write(tmp_path / "base", BASE, seed=0), write(tmp_path / "expert", [*BASE, "f"], seed=1)
    (expert / "config.json").write_text("{}")
    with pytest.raises(FusionBenchError, match=r"no config\.json that says its vocab_size"):
        fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")
    (expert / "config.json").write_text('{"vocab_size": 9}')
    with pytest.raises(FusionBenchError, match="no tensors of 9 and 5 rows"):
        fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")
    (expert / "tokenizer.json").unlink()
    with pytest.raises(FusionBenchError, match="no tokenizer beside its weights"):
        fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")
    (expert / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(FusionBenchError, match="no tokenizer that can be read"):
        fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")


def test_a_unigram_tokenizer_counts_its_pieces(tmp_path: Path) -> None:
    content = {"model": {"vocab": [["<unk>", 0.0], ["a", -1.5]]}, "added_tokens": [{"content": "<s>", "id": 2}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_vocabulary(tmp_path) == {"<unk>": 0, "a": 1, "<s>": 2}
    assert read_vocabulary(tmp_path / "nowhere") is None
    assert moved({"a": 1, "b": 0}, {"a": 1, "c": 0}) == []


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=12), st.data())
def test_any_span_of_any_rows(rows: list[int], data: st.DataObject) -> None:
    expert = StateCheckpoint({"w": torch.arange(7 * WIDTH, dtype=torch.float32).reshape(7, WIDTH)}, label="e")
    base = StateCheckpoint(
        {"w": -1 - torch.arange(len(rows) * WIDTH, dtype=torch.float32).reshape(-1, WIDTH)}, label="b"
    )
    found = ByToken(expert, base, ["w"], rows)
    wanted = torch.stack([base["w"][at] if row < 0 else expert["w"][row] for at, row in enumerate(rows)])
    assert torch.equal(found["w"], wanted)
    start = data.draw(st.integers(0, wanted.numel() - 1))
    stop = data.draw(st.integers(start + 1, wanted.numel()))
    assert torch.equal(found.gather([Span("w", start, stop)]), wanted.flatten()[start:stop])
    assert sum(stretch.stop - stretch.start for stretch in stretches(rows)) == len(rows)


def test_headers_that_are_alike_say_nothing_of_tokens(tmp_path: Path) -> None:
    """As in practice: the same tensors, opened as one like the other."""
    base, expert = (write(tmp_path / name, tokens, seed=seed) for seed, (name, tokens) in enumerate(
        {"base": BASE, "expert": ["b", "a", "c", "d", "e"]}.items()
    ))  # fmt: skip
    first = open_checkpoint(base)
    alike = open_checkpoint(expert, like=first)
    assert alike.specs is first.specs
    with pytest.raises(FusionBenchError, match="other ids for tokens"):
        fit(alike, first)
    fitted, _ = fit(alike, first, on_mismatch="tokens")
    wanted = by_hand(base, BASE, expert, ["b", "a", "c", "d", "e"])
    assert all(torch.equal(fitted[name], wanted[name]) for name in wanted)
    for policy in ("error", "tokens"):  # once is enough: whoever fits it again finds the base's tokens
        assert fit(fitted, first, on_mismatch=policy) == (fitted, [])
    fusion_bench.merge("simple_average", base=base, experts=[expert], out=tmp_path / "out", on_mismatch="tokens")
    assert torch.allclose(load_file(tmp_path / "out" / "model.safetensors")["head.bias"], wanted["head.bias"])


def test_tokens_matter_where_rows_of_them_are_fused(tmp_path: Path) -> None:
    base, expert = (
        write(tmp_path / "base", BASE, seed=0),
        write(tmp_path / "expert", ["x", "b", "a", *BASE[2:]], seed=1),
    )
    opened, other = open_checkpoint(base), open_checkpoint(expert)
    fitted, _ = fit(other, opened, on_mismatch="base")  # all its rows are the base's
    assert torch.equal(fitted["embed.weight"], opened["embed.weight"])
    tower = {"layer": "layer"}
    assert fit(renamed(other, tower), renamed(opened, tower))[1] == []


def test_sizes_that_could_be_of_anything_are_refused(tmp_path: Path) -> None:
    tokens = ["a", "b", "c", "d"]
    base, expert = write(tmp_path / "base", tokens, seed=0), write(tmp_path / "expert", tokens[::-1], seed=1)
    with pytest.raises(FusionBenchError, match="4 tokens, and so many are also columns"):
        fit(open_checkpoint(expert), open_checkpoint(base), on_mismatch="tokens")


def test_lines_of_a_vocabulary_end_at_newlines_alone(tmp_path: Path) -> None:
    tokens = ["[PAD]", "a", "\u2028", "\x85", "b"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    assert read_vocabulary(tmp_path) == {token: row for row, token in enumerate(tokens)}
