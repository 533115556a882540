"""Checkpoints that are another one but for something: what they pass on, and which ties are still ties."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fusion_bench.registry import load_algorithm
from fusion_bench.weights.adapter import AdapterCheckpoint, LowRank
from fusion_bench.weights.checkpoint import Checkpoint, StateCheckpoint
from fusion_bench.weights.fitting import fit
from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.renamed import Renamed
from fusion_bench.weights.tokens import ByToken
from fusion_bench.weights.wrapped import Wrapped

DARE = load_algorithm("dare_ties")  # its masks are keyed by name: of a tie that is lost, the two ends differ


def tied(rows: int, seed: int, **more: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, 4, generator=generator)
    return {"embed": table, "layer": torch.randn(3, 4, generator=generator), "head": table, **more}


def merged(base: dict[str, Tensor], *experts: dict[str, Tensor] | Checkpoint, policy: str) -> dict[str, Tensor]:
    named = {f"e{number}": expert for number, expert in enumerate(experts)}
    return merge_in_memory(DARE, base, named, scaling=1.0, on_mismatch=policy)


def test_tied_tables_that_are_padded_stay_tied() -> None:
    found = merged(tied(6, 0), tied(5, 1), tied(6, 2), policy="pad")
    assert found["head"] is found["embed"]


def test_tied_tables_that_are_left_to_the_base_stay_tied() -> None:
    found = merged(tied(6, 0), tied(5, 1), tied(6, 2), policy="base")
    assert found["head"] is found["embed"]


def test_tied_tables_stay_tied_though_another_tensor_is_the_bases() -> None:
    found = merged(tied(6, 0), tied(6, 1, layer=torch.ones(2, 2)), policy="base")
    assert found["head"] is found["embed"]


@pytest.mark.parametrize(("policy", "rows"), [("pad", 5), ("base", 6)])
def test_tables_that_one_model_has_apart_are_apart(policy: str, rows: int) -> None:
    apart = tied(rows, 1)
    apart["head"] = apart["head"].clone()
    for base, expert in ((tied(6, 0), apart), ({**tied(6, 0), "head": torch.ones(6, 4)}, tied(rows, 1))):
        found = merged(base, expert, tied(6, 2), policy=policy)
        assert found["head"] is not found["embed"]


def test_half_a_tie_that_is_the_bases_is_none() -> None:
    base = StateCheckpoint(tied(6, 0), label="base")
    short = tied(6, 1)
    short["head"] = torch.ones(4, 4)
    fitted, _ = fit(StateCheckpoint(short, label="e"), base, on_mismatch="base")
    assert not fitted.aliases
    assert torch.equal(fitted["head"], base["head"])
    assert torch.equal(fitted["embed"], short["embed"])


def test_adapters_of_other_layers_leave_a_tie_and_those_of_one_end_part_it() -> None:
    base = StateCheckpoint(tied(6, 0), label="base")
    low = LowRank(torch.ones(3, 1), torch.ones(1, 4), 1.0)
    assert AdapterCheckpoint(base, {"layer": low}, {}, label="a").aliases == {"head": "embed"}
    table = LowRank(torch.ones(6, 1), torch.ones(1, 4), 1.0)
    assert not AdapterCheckpoint(base, {"head": table}, {}, label="a").aliases
    assert not AdapterCheckpoint(base, {}, {"embed": torch.ones(6, 4)}, label="a").aliases
    found = merged(tied(6, 0), AdapterCheckpoint(base, {"layer": low}, {}, label="a"), policy="error")
    assert found["head"] is found["embed"]


def test_everything_is_passed_on(tmp_path: Path) -> None:
    save_file({"embed": torch.ones(3, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
    inner = open_checkpoint(tmp_path)
    inner.notes = ("opened with care",)
    other = StateCheckpoint({"embed": torch.zeros(3, 2)}, label="base")
    made = [Wrapped(inner), Renamed(inner, {"embed": "embed"}), ByToken(inner, other, ["embed"], [0, 1, -1])]
    for found in made:
        assert (found.label, found.notes, found.files) == (inner.label, inner.notes, inner.files)
        assert (found.device, found.place("embed")) == (inner.device, inner.place("embed"))
        assert found["embed"][:2].tolist() == [[1.0, 1.0]] * 2
    assert made[0].tokenizer == made[1].tokenizer == tmp_path / "vocab.json"
    assert made[2].tokenizer is None  # its rows are the base's, of which nothing is said
    assert made[2]["embed"][2].tolist() == [0.0, 0.0]


class _Elsewhere(StateCheckpoint):
    closed = False

    @property
    def device(self) -> torch.device:
        return torch.device("meta")

    def close(self) -> None:
        self.closed = True


def test_devices_and_closing_are_passed_on_by_all() -> None:
    state = {"embed": torch.ones(3, 2)}
    base = StateCheckpoint({"embed": torch.ones(4, 2)}, label="base")
    for wrap in (
        Wrapped,
        lambda inner: Renamed(inner, {"w": "embed"}),
        lambda inner: ByToken(inner, base, ["embed"], [0, 1, 2, -1]),
        lambda inner: fit(inner, base, on_mismatch="pad")[0],
    ):
        inner = _Elsewhere(state, label="e")
        found = wrap(inner)
        assert found.device == torch.device("meta")
        found.close()
        assert inner.closed
