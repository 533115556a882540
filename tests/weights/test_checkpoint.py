"""Checkpoints of every kind, and adapters against peft itself."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.fitting import fit
from fusion_bench.weights.opening import natural_order, open_checkpoint
from fusion_bench.weights.spans import Span

STATE = {"b.weight": torch.randn(4, 6), "a": torch.randn(3).bfloat16(), "n": torch.tensor(3), "e": torch.zeros(0, 2)}


def check(checkpoint, state=STATE):
    assert set(checkpoint) == set(state)
    for name, tensor in state.items():
        assert checkpoint.specs[name] == (tuple(tensor.shape), tensor.dtype)
        assert torch.equal(checkpoint[name], tensor)
        if tensor.numel() > 2:
            assert torch.equal(checkpoint.gather([Span(name, 1, 3)]), tensor.reshape(-1)[1:3])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


def shards(folder, state=STATE, count=2, index=True):
    folder.mkdir()
    where = {name: f"model-{i % count + 1:05}-of-{count:05}.safetensors" for i, name in enumerate(state)}
    for file in set(where.values()):
        save_file({n: state[n] for n in state if where[n] == file}, folder / file)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def test_a_state_dict_a_file_and_folders(folder, tmp_path):
    check(open_checkpoint(STATE))
    save_file(STATE, tmp_path / "m.safetensors")
    check(open_checkpoint(tmp_path / "m.safetensors"))
    check(open_checkpoint(shards(folder)))
    folder = tmp_path / "single"
    folder.mkdir()
    save_file(STATE, folder / "model.safetensors")
    check(open_checkpoint(str(folder)))


def test_what_is_wrong_with_a_folder_is_said(folder, tmp_path):
    with pytest.raises(FusionBenchError, match="no checkpoint"):
        open_checkpoint(tmp_path / "nowhere")
    folder.mkdir()
    with pytest.raises(FusionBenchError, match="holds no weights"):
        open_checkpoint(folder)
    for name in ("x", "y"):
        save_file(STATE, folder / f"{name}.safetensors")
    with pytest.raises(FusionBenchError, match="2 files of weights and no index"):
        open_checkpoint(folder)
    index = folder / "model.safetensors.index.json"
    for content, message in [
        ("{", "no index of shards"),
        ("[]", "no index of shards"),
        ('{"weight_map": {}}', "names no shard"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "shard gone.safetensors"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "names the shard"),
        ('{"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}', "is in y.safetensors and in x.safetensors"),
    ]:
        index.write_text(content)
        with pytest.raises(FusionBenchError, match=message):
            open_checkpoint(folder)
    save_file({"other": torch.ones(1)}, folder / "y.safetensors")
    index.write_text('{"weight_map": {"a": "x.safetensors", "lost": "y.safetensors"}}')
    with pytest.raises(FusionBenchError, match="lists 'lost', which no shard has"):
        open_checkpoint(folder)


def test_shards_are_in_natural_order():
    assert sorted(["m-10", "m-9", "m-1"], key=natural_order) == ["m-1", "m-9", "m-10"]


def test_strided_tied_and_odd_tensors_of_a_state_dict():
    w = torch.arange(6.0).reshape(2, 3)
    checkpoint = StateCheckpoint({"w": w.T, "tied": w.T, "part": w[0], "zero": torch.tensor(2.0)}, label="s")
    assert checkpoint.gather([Span("w", 1, 3)]).tolist() == [3, 1]
    assert checkpoint.aliases == {"tied": "w"}
    with pytest.raises(FusionBenchError, match="'w' is a list"):
        StateCheckpoint({"w": [1.0]}, label="s")


BASE = {"embed": torch.randn(6, 2), "head": torch.randn(3, 2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head"), "'head' .* is missing"),
        (lambda s: s.update(extra=torch.ones(1)), "'extra' .* is not in"),
        (lambda s: s.update(hed=s.pop("head")), "nearest: 'hed'"),
        (lambda s: s.update(head=torch.ones(2, 3)), r"\(2, 3\).*\(3, 2\)"),
        (lambda s: s.update(head=torch.ones(3, 2, dtype=torch.int64)), "torch.int64"),
        (lambda s: s.update(embed=torch.ones(4, 2)), "on_mismatch='pad' gives the smaller one"),
    ],
)
def test_models_that_do_not_fit(change, message):
    expert = dict(BASE)
    change(expert)
    with pytest.raises(FusionBenchError, match=message):
        merge("simple_average", base=BASE, experts=[expert])


def test_policies_do_what_they_say_and_tell():
    base, expert = open_checkpoint(BASE, label="b"), {**BASE, "embed": torch.ones(4, 2), "more": torch.ones(1)}
    fitted, notes = fit(open_checkpoint(expert, label="e"), base, on_mismatch="base")
    assert torch.equal(fitted["embed"], BASE["embed"])
    assert len(notes) == 2
    del expert["more"]
    fitted, notes = fit(open_checkpoint(expert, label="e"), base, on_mismatch="pad")
    assert torch.equal(fitted["embed"], torch.cat([torch.ones(4, 2), BASE["embed"][4:]]))
    assert torch.equal(fitted.gather([Span("embed", 7, 10)]), fitted["embed"].reshape(-1)[7:10])
    assert notes == ["e: tensor 'embed' has 4 rows, padded to 6"]
    expert["embed"] = torch.ones(7, 2)  # a larger vocabulary cannot be cut without losing words
    with pytest.raises(FusionBenchError, match="embed"):
        fit(open_checkpoint(expert, label="e"), base, on_mismatch="pad")
    with pytest.raises(FusionBenchError, match="on_mismatch"):
        fit(open_checkpoint(expert, label="e"), base, on_mismatch="ignore")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 12)
        self.up = nn.Linear(12, 30)
        self.down = nn.Linear(30, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.down(self.up(self.embed(x))))


def adapter(folder, seed=0, **options):
    """A random PEFT adapter on ``Net`` as saved by peft, the base's state dict, and what peft merges."""
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[oracles]'")
    torch.manual_seed(0)
    net = Net()
    base = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(seed)
    model = peft.get_peft_model(net, peft.LoraConfig(**{"r": 4, "lora_alpha": 10, **options}))
    for _, parameter in model.named_parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    model.save_pretrained(folder)
    merged = {n: t.clone() for n, t in model.merge_and_unload().state_dict().items()}
    return base, merged


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["up", "down"]},
        {"target_modules": ["up"], "use_rslora": True},
        {"target_modules": ["embed", "down"]},
        {"target_modules": ["up"], "modules_to_save": ["head"]},
        {"target_modules": ["up", "down"], "rank_pattern": {"down": 2}, "alpha_pattern": {"up": 3}},
        {"target_modules": ["up"], "bias": "all"},
    ],
)
def test_adapters_are_what_peft_makes_of_them(options, tmp_path):
    base, merged = adapter(tmp_path / "a", **options)
    save_file(base, tmp_path / "base.safetensors")
    origin = open_checkpoint(tmp_path / "base.safetensors")
    found = open_checkpoint(tmp_path / "a", base=origin)
    assert set(found) == set(merged)
    for name, tensor in merged.items():
        torch.testing.assert_close(found[name].float(), tensor, rtol=1e-5, atol=1e-5)
        flat = found[name].reshape(-1)
        assert torch.equal(found.gather([Span(name, 3, 5)]), flat[3:5])
        factors = found.factors(name)
        if factors is not None:
            torch.testing.assert_close(
                (factors.left @ factors.right).float(), tensor - base[name], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "tsv_m", "iso_c"])
def test_merging_adapters_is_merging_the_models_they_make(name, tmp_path):
    pairs = [adapter(tmp_path / str(seed), seed=seed, target_modules=["up", "down"]) for seed in (1, 2)]
    base = pairs[0][0]
    save_file(base, tmp_path / "base.safetensors")
    # the models that the adapters make, unrounded: the sum in float64
    origin = open_checkpoint(tmp_path / "base.safetensors")
    full = [dict(open_checkpoint(tmp_path / str(s), base=origin)) for s in (1, 2)]
    merge(
        name,
        base=tmp_path / "base.safetensors",
        experts={"a": tmp_path / "1", "b": tmp_path / "2"},
        out=tmp_path / "m.safetensors",
    )
    found = open_checkpoint(tmp_path / "m.safetensors")
    expected = merge(name, base=base, experts={"a": full[0], "b": full[1]})
    for key in base:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-6)


def test_adapters_that_fit_nothing(tmp_path):
    base, _ = adapter(tmp_path / "a", target_modules=["up"])
    with pytest.raises(FusionBenchError, match="is an adapter"):
        open_checkpoint(tmp_path / "a")
    other = {n.replace("up.", "upper."): t for n, t in base.items()}
    with pytest.raises(FusionBenchError, match=r"adapts 'up.weight', and .* has no such tensor"):
        open_checkpoint(tmp_path / "a", base=open_checkpoint(other))
    wide = {**base, "up.weight": torch.zeros(31, 12)}
    with pytest.raises(FusionBenchError, match="make no"):
        open_checkpoint(tmp_path / "a", base=open_checkpoint(wide))
    config = tmp_path / "a" / "adapter_config.json"
    for change, message in [({"peft_type": "IA3"}, "IA3 adapter"), ({"use_dora": True}, "use_dora")]:
        config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "LORA", **change}))
        with pytest.raises(FusionBenchError, match=message):
            open_checkpoint(tmp_path / "a", base=open_checkpoint(base))


def test_an_adapter_for_a_base_saved_without_its_prefix(tmp_path):
    base, _ = adapter(tmp_path / "a", target_modules=["up"])
    prefixed = open_checkpoint({f"model.{n}": t for n, t in base.items()})
    found = open_checkpoint(tmp_path / "a", base=prefixed)
    assert not torch.equal(found["model.up.weight"], prefixed["model.up.weight"])
    assert torch.equal(found["model.down.weight"], prefixed["model.down.weight"])
