"""Linearised LoRA against torch's own derivative of peft's layers; one in a pool; and files that are refused."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.spans import Span
from tests.helpers.linearized_lora import linearized, train, write
from tests.helpers.tiny_adapters import change

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[oracles]'")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FILE = "linearized_adapter_model.safetensors"
LAYER = "base_model.model.layer"
LAYERS = {  # and the shape of what goes in; "small" has fewer rows than twice the rank
    "wide": (lambda: nn.Linear(7, 10), (7,)),
    "no bias": (lambda: nn.Linear(7, 10, bias=False), (7,)),
    "square": (lambda: nn.Linear(8, 8), (8,)),
    "small": (lambda: nn.Linear(5, 3), (5,)),
    "picture": (lambda: nn.Conv2d(3, 8, 3), (3, 9, 9)),
}
PICTURES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def made(folder, layer="wide", *, start=False, **options):
    """A net in float64, its trained linearised layer, and the folder of that: base, layer, input."""
    torch.manual_seed(0)
    layer, shape = LAYERS[layer]
    net, x = Net(layer()).double(), torch.randn(6, *shape).double()
    base = {name: value.clone() for name, value in net.state_dict().items()}
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["layer"], "init_lora_weights": start, **options}
    adapted = peft.get_peft_model(net, peft.LoraConfig(**options)).double()
    layers = linearized(adapted)
    train(adapted, x)
    write(adapted, layers, folder)
    return base, layers[LAYER], x


def opened(folder, base):
    return open_checkpoint(folder, base=open_checkpoint(base, label="its base"), label="mine")


def applied(state, x):
    operation = F.conv2d if x.ndim == 4 else F.linear
    return operation(x, state["layer.weight"], state.get("layer.bias"))


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {"layer": 3}, "lora_alpha": 5}])
@pytest.mark.parametrize("start", [True, False])  # whether B₀ is 0
@pytest.mark.parametrize("layer", LAYERS)
def test_it_is_the_layer_to_first_order(layer, start, options, tmp_path):
    base, linear, x = made(tmp_path / "a", layer, start=start, **options)
    found = opened(tmp_path / "a", base)
    with torch.no_grad():
        expected, whole = linear(x), linear.model(x)
    torch.testing.assert_close(applied(found, x), expected, rtol=0, atol=1e-10)
    assert (expected - whole).abs().max() > 1e-2  # the layer itself, as peft runs it, is another
    assert (expected - applied(base, x)).abs().max() > 1e-2
    assert set(found) == set(base)
    flat = found["layer.weight"].reshape(-1)
    assert torch.equal(found.gather([Span("layer.weight", 3, 12)]), flat[3:12])
    assert [file.name for file in found.files] == ["adapter_config.json", FILE]
    factors = found.factors("layer.weight")
    rank = linear.model.r["default"]
    assert factors.left.shape[1] == (rank if start else 2 * rank)
    difference = (found["layer.weight"] - base["layer.weight"]).flatten(1)
    torch.testing.assert_close(factors.left @ factors.right, difference, rtol=0, atol=1e-12)


def test_with_a_start_of_zero_what_a_has_learned_is_left_out(tmp_path):
    base, _, _ = made(tmp_path / "a", start=True)
    before = opened(tmp_path / "a", base)["layer.weight"]
    stored = load_file(tmp_path / "a" / FILE)
    key = f"{LAYER}.model.lora_A.default.weight"
    save_file({**stored, key: stored[key] + 1}, tmp_path / "a" / FILE)
    assert torch.equal(opened(tmp_path / "a", base)["layer.weight"], before)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP, and by their names the linearised vision models that were trained on it: folders, and as they run."""
    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": 60, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**tower, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    models = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = transformers.CLIPModel(config).eval()
        base.save_pretrained(folder / "base")
        for name, start in (("zero", True), ("random", False)):
            vision = transformers.CLIPModel.from_pretrained(folder / "base").vision_model
            options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": start}
            adapted = peft.get_peft_model(vision, peft.LoraConfig(**options)).eval()
            layers = linearized(adapted)
            assert "base_model.model.encoder.layers.0.self_attn.q_proj" in layers
            train(adapted, PICTURES)
            write(adapted, layers, folder / name)
            models[name] = adapted
    return folder, base, models


def pool(folder):
    experts = {name: str(folder / name) for name in ("zero", "random")}
    return load_modelpool({"type": "hf_clip", "name": "tiny", "base": str(folder / "base"), "experts": experts})


def logits(features):
    text = F.normalize(torch.randn(5, features.shape[1], generator=torch.Generator().manual_seed(2)), dim=-1)
    return 100 * F.normalize(features, dim=-1) @ text.T


@pytest.mark.parametrize("name", ["zero", "random"])
def test_a_pools_expert_is_the_linearised_model(name, clip):
    folder, base, models = clip
    with torch.no_grad():
        expected = logits(base.visual_projection(models[name](PICTURES).pooler_output))
        found = logits(pool(folder).model(name)(PICTURES))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
        unadapted = logits(base.visual_projection(base.vision_model(PICTURES).pooler_output))
    assert (expected - unadapted).abs().max() > 1


def test_experts_are_merged_by_their_factors_and_by_what_these_make(clip, tmp_path):
    """The same merge of the adapters and of whole models that hold the same weights."""
    folder, _, _ = clip
    mine = pool(folder)
    shutil.copytree(folder / "base", tmp_path / "base")
    for name in ("zero", "random"):
        (tmp_path / name).mkdir()
        save_file(
            {key: mine.state_dict(name)[key] for key in mine.state_dict(name)}, tmp_path / name / "model.safetensors"
        )
    for algorithm in ("simple_average", "iso_c"):
        merged, expected = (load_algorithm(algorithm).run(one) for one in (mine, pool(tmp_path)))
        with torch.no_grad():
            torch.testing.assert_close(merged(PICTURES), expected(PICTURES), rtol=1e-4, atol=1e-5)


def lora(side, adapter="default"):
    return f"{LAYER}.model.lora_{side}.{adapter}.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop(lora("A")), f"mine: {LAYER} has no trained lora_A"),
        (lambda s: s.pop(lora("B")), f"mine: {LAYER} has no trained lora_B"),
        (lambda s: [s.pop(lora(side)) for side in "AB"], "has no trained lora_A"),
        (
            lambda s: s.pop(f"{LAYER}.params0_values.3"),
            "not two initial values, of lora_A and lora_B: params0_values.2",
        ),
        (lambda s: [s.pop(f"{LAYER}.params0_values.{i}") for i in (2, 3)], "not two initial values.*: none"),
        (
            lambda s: s.update({f"{LAYER}.params0_values.1": torch.zeros(10)}),
            "not two.*values.1, params0_values.2, par",
        ),
        (
            lambda s: s.update({f"{LAYER}.params0_values.9": s.pop(f"{LAYER}.params0_values.2")}),
            r"lora_A \(4, 7\) of .* does not pair with params0_values.3 \(10, 4\)\n.*own order",
        ),
        (lambda s: s.update({f"{LAYER}.params0_values.3": torch.zeros(10, 5)}), r"lora_B \(10, 4\) of .*\.3 \(10, 5\)"),
        (
            lambda s: s.update({f"{LAYER}.model.base_layer.bias": torch.zeros(10)}),
            "base_layer.bias' is no part of a lin",
        ),
        (lambda s: s.update({lora("A", "b"): s[lora("A")].clone()}), "mine holds 2 adapters: b, default\n"),
        (lambda s: s.clear(), "mine adapts nothing"),
        (lambda s: s.update({k.replace(".layer.", ".other."): s.pop(k) for k in list(s)}), "no such tensor\n.*layer.w"),
        (
            lambda s: s.update({lora("A"): torch.zeros(3, 7), f"{LAYER}.params0_values.2": torch.zeros(3, 7)}),
            "have no product",
        ),
        (
            lambda s: s.update({lora("A"): torch.zeros(4, 9), f"{LAYER}.params0_values.2": torch.zeros(4, 9)}),
            "this adapter belongs to another base",
        ),
    ],
)
def test_files_that_lack_or_hold_something_else(edit, message, tmp_path):
    base, _, _ = made(tmp_path / "a")
    stored = load_file(tmp_path / "a" / FILE)
    assert set(stored) == {lora("A"), lora("B"), f"{LAYER}.params0_values.2", f"{LAYER}.params0_values.3"}
    edit(stored)
    save_file(stored, tmp_path / "a" / FILE)
    with pytest.raises(FusionBenchError, match=message) as error:
        opened(tmp_path / "a", base)
    assert message == "mine adapts nothing" or error.value.hint


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_folder_with_both_files(name, tmp_path):
    base, _, _ = made(tmp_path / "a")
    (tmp_path / "a" / name).write_bytes((tmp_path / "a" / FILE).read_bytes())
    with pytest.raises(FusionBenchError, match=f"has both {name} and {FILE}.*\n.*keep the one"):
        opened(tmp_path / "a", base)


def test_a_folder_with_neither_file(tmp_path):
    base, _, _ = made(tmp_path / "a")
    (tmp_path / "a" / FILE).unlink()
    with pytest.raises(FusionBenchError, match=f"has no adapter_model.safetensors\n.*or one with {FILE}"):
        opened(tmp_path / "a", base)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"use_dora": True}, "use_dora is not supported"),
        ({"init_lora_weights": "pissa"}, "changes the base"),
        ({"r": 5}, "the rank 5, and its factors have 4"),  # of the layer's own factors, whatever B₀ is
    ],
)
def test_settings_that_are_no_plain_lora(fields, message, tmp_path):
    base, _, _ = made(tmp_path / "a")
    change(tmp_path / "a" / "adapter_config.json", **fields)
    with pytest.raises(FusionBenchError, match=message):
        opened(tmp_path / "a", base)


def test_the_file_alone_is_no_checkpoint(tmp_path):
    made(tmp_path / "a")
    with pytest.raises(FusionBenchError, match=f"{FILE} is an adapter's file\n.*give its folder"):
        open_checkpoint(tmp_path / "a" / FILE)
    (tmp_path / "a" / "adapter_config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"is an adapter without adapter_config\.json"):
        open_checkpoint(tmp_path / "a")
