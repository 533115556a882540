"""Adapters against what peft itself makes of them, on tiny models of transformers; and those that are refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.spans import Span

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[oracles]'")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BLOCK = ("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "lm_head.weight")


def llama(tied=False):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    return transformers.LlamaForCausalLM(config)


def gpt2(kind="GPT2LMHeadModel", **options):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=48, n_embd=32, n_layer=1, n_head=2, n_positions=16, tie_word_embeddings=False, **options
    )
    model = getattr(transformers, kind)(config)
    model.config.pad_token_id = 0
    return model


def save(model, folder, **options):
    """Save a model, a random adapter on it, and the loaded model with the adapter, as peft runs it."""
    model.save_pretrained(folder / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{"r": 4, "lora_alpha": 6, **options}))
    torch.manual_seed(1)
    for _, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    adapted.save_pretrained(folder / "a")
    return loaded(model, folder)


def loaded(model, folder):
    base = type(model).from_pretrained(folder / "base") if hasattr(model, "config") else model
    return peft.PeftModel.from_pretrained(base, folder / "a")


def opened(folder):
    base = open_checkpoint(folder / "base")
    return base, open_checkpoint(folder / "a", base=base, label="mine")


def check(found, merged, base):
    """Equal to peft's merged model, whole and in part; factors, where there are some, are the difference."""
    assert set(found) == set(base)
    for name in base:
        torch.testing.assert_close(found[name].float(), merged[name], rtol=1e-5, atol=1e-5)
        whole = found[name].reshape(-1)
        assert torch.equal(found.gather([Span(name, 3, 17)]), whole[3:17])
        factors = found.factors(name)
        if factors is not None:
            difference = merged[name].double() - base[name].double()
            torch.testing.assert_close(factors.left @ factors.right, difference, rtol=1e-4, atol=1e-4)


def change(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize(
    "modules",
    [["embed_tokens"], ["lm_head"], ["lm_head", "embed_tokens", "q_proj", "down_proj"]],
)
def test_embeddings_and_heads_are_adapted(modules, tmp_path):
    adapted = save(llama(), tmp_path, target_modules=modules)
    keys = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert any(key.endswith(".base_layer.weight") for key in keys)  # peft's default
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)
    assert found.factors(f"{'lm_head' if 'lm_head' in modules else 'model.embed_tokens'}.weight") is not None


def test_an_embedding_is_the_one_that_the_adapter_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr("fusion_bench.weights.adapter._BLOCK", 64)  # several blocks a tensor
    adapted = save(llama(), tmp_path, target_modules=["embed_tokens", "lm_head"])
    stored = {k: t.clone() for k, t in load_file(tmp_path / "a" / "adapter_model.safetensors").items()}
    stored["base_model.model.model.embed_tokens.base_layer.weight"] += 1
    save_file(stored, tmp_path / "a" / "adapter_model.safetensors")
    adapted = loaded(llama(), tmp_path)
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)
    assert found.factors("model.embed_tokens.weight") is None  # the difference to the base is not low-rank
    assert found.factors("lm_head.weight") is not None


def test_a_stored_embedding_of_another_shape(tmp_path):
    save(llama(), tmp_path, target_modules=["lm_head"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.lm_head.base_layer.weight": torch.zeros(48, 31)}, file)
    with pytest.raises(FusionBenchError, match=r"was trained on 'lm_head.weight' of shape \(48, 31\)"):
        opened(tmp_path)


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal", "mica", "eva"])
def test_initialisations_that_keep_the_base(start, tmp_path):
    model = llama()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = save(model, tmp_path, target_modules=["q_proj"], init_lora_weights=start)
    kept = adapted.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    assert torch.equal(kept, before[BLOCK[1]])
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_initialisations_that_change_the_base(start, tmp_path):
    model = llama()
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=start))
    adapted.peft_config["default"].init_lora_weights = True
    adapted.save_pretrained(tmp_path / "start")
    adapted.peft_config["default"].init_lora_weights = start
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora" in name:
            parameter.data += torch.randn(parameter.shape)
    adapted.save_pretrained(tmp_path / "a")
    with pytest.raises(FusionBenchError, match=f"init_lora_weights '{start}' changes the base.*\n.*weight_conversion"):
        opened(tmp_path)
    adapted.save_pretrained(tmp_path / "a", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    base, found = opened(tmp_path)
    merged = adapted.merge_and_unload().state_dict()
    torch.testing.assert_close(found[BLOCK[1]].float(), merged[BLOCK[1]], rtol=1e-4, atol=1e-4)
    check(found, loaded(llama(), tmp_path).merge_and_unload().state_dict(), base)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("corda", "changes the base"),
        ("lora_ga", "changes the base"),
        ("loftq", "changes the base.*\n.*give the model that this initialisation made"),
        ("new", "init_lora_weights is 'new'.*\n.*orthogonal"),
    ],
)
def test_initialisations_that_need_data_or_are_unknown(start, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    change(tmp_path / "a" / "adapter_config.json", init_lora_weights=start)
    with pytest.raises(FusionBenchError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
    ],
)
def test_a_tied_base_cannot_hold_what_unties_it(options, tmp_path):
    adapted = save(llama(tied=True), tmp_path, **options)
    with pytest.raises(FusionBenchError, match=r"unties the embedding from the output head.*\n.*untie the base"):
        opened(tmp_path)
    # what the message says to do makes the model that peft runs
    ids = torch.arange(12)[None]
    expected = adapted(ids).logits
    base = llama(tied=True)
    weight = base.lm_head.weight
    base.lm_head.weight = nn.Parameter(weight.detach().clone())
    base.config.tie_word_embeddings = False
    base.save_pretrained(tmp_path / "base")
    _, found = opened(tmp_path)
    model = llama()
    model.load_state_dict({name: tensor.float() for name, tensor in found.items()})
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-3, atol=1e-3)


def test_tied_weights_that_stay_tied(tmp_path):
    options = {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
    adapted = save(llama(tied=True), tmp_path, **options)
    base, found = opened(tmp_path)
    merged = adapted.merge_and_unload().state_dict()
    assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    check(found, merged, base)


def test_a_tied_base_and_an_adapter_that_stores_its_embedding_unchanged(tmp_path):
    model = llama(tied=True)
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "a", save_embedding_layers=True)
    assert "base_model.model.lm_head.weight" in load_file(tmp_path / "a" / "adapter_model.safetensors")
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


@pytest.mark.parametrize("said", [{}, {"tie_word_embeddings": False}])
def test_what_a_config_of_an_older_transformers_says(said, tmp_path):
    save(llama(tied=True), tmp_path, target_modules=["lm_head"])
    file = tmp_path / "base" / "config.json"
    config = {k: v for k, v in json.loads(file.read_text()).items() if k != "tie_word_embeddings"}
    file.write_text(json.dumps({**config, **said}))
    with pytest.raises(FusionBenchError, match="no such tensor" if said else "unties"):
        opened(tmp_path)


def test_a_model_without_a_head_is_not_tied(tmp_path):
    bare = llama(tied=True).model
    adapted = save(bare, tmp_path, target_modules=["embed_tokens"])
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize(
    "modules", [["c_attn", "c_proj", "c_fc"], ["attn.c_proj", "lm_head"], ["attn.c_proj"], ["c_attn", "lm_head", "wte"]]
)
def test_conv1d_and_linear_in_one_adapter(modules, configured, tmp_path):
    adapted = save(gpt2(), tmp_path, target_modules=modules)
    if not configured:
        (tmp_path / "base" / "config.json").unlink()  # the base's other c_proj has a bias, which tells
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


def test_a_square_linear_beside_conv1d(tmp_path):
    model = gpt2("GPT2ForSequenceClassification", num_labels=32)
    adapted = save(model, tmp_path, target_modules=["attn.c_proj", "c_attn", "score"])
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)
    (tmp_path / "base" / "config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"the square 'score\.weight'.*fan_in_fan_out is False"):
        opened(tmp_path)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_with_the_names_of_conv1d(bias, tmp_path):
    torch.manual_seed(0)
    config = transformers.GPTBigCodeConfig(
        vocab_size=48, n_embd=32, n_layer=1, n_head=2, n_positions=16, tie_word_embeddings=False
    )
    model = transformers.GPTBigCodeForCausalLM(config)
    adapted = save(model, tmp_path, target_modules=["attn.c_proj"] + (["c_attn"] if bias else []))
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


class Mixed(nn.Module):
    """Square layers of both kinds, one of them in the company of its like."""

    def __init__(self):
        super().__init__()
        self.turned = transformers.pytorch_utils.Conv1D(12, 12)
        self.straight = nn.Linear(12, 12)
        self.wide = nn.Linear(12, 20)

    def forward(self, x):
        return self.wide(self.straight(self.turned(x)))


def mixed(modules, folder):
    """A random adapter on ``Mixed``: its base's state dict, and what peft merges."""
    torch.manual_seed(0)
    net = Mixed()
    base = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    adapted = peft.get_peft_model(net, peft.LoraConfig(r=4, target_modules=modules, init_lora_weights=False))
    adapted.save_pretrained(folder)
    return base, adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize("modules", [["turned"], ["straight"], ["straight", "wide"]])
def test_square_layers_of_any_model(modules, tmp_path):
    base, merged = mixed(modules, tmp_path / "a")
    check(open_checkpoint(tmp_path / "a", base=open_checkpoint(base)), merged, base)


def test_a_flag_that_other_layers_contradict(tmp_path):
    base, _ = mixed(["straight", "wide"], tmp_path / "a")
    change(tmp_path / "a" / "adapter_config.json", fan_in_fan_out=True)
    with pytest.raises(FusionBenchError, match=r"cannot know whether the square 'straight\.weight'.*\n.*config\.json"):
        open_checkpoint(tmp_path / "a", base=open_checkpoint(base))


@pytest.mark.parametrize(("modules", "known"), [(["q_proj", "down_proj"], True), (["q_proj"], False)])
def test_a_flag_that_the_model_contradicts(modules, known, tmp_path):
    adapted = save(llama(), tmp_path, target_modules=modules)
    change(tmp_path / "a" / "adapter_config.json", fan_in_fan_out=True)
    if known:
        base, found = opened(tmp_path)
        check(found, adapted.merge_and_unload().state_dict(), base)
    else:
        with pytest.raises(FusionBenchError, match=r"q_proj\.weight'"):
            opened(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_alpha": None}, "lora_alpha is None.*\n.*a number"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"alpha_pattern": ["q_proj"]}, r"alpha_pattern is \['q_proj'\]"),
        ({"alpha_pattern": {"(q": 3}}, r"alpha_pattern is '\(q'.*\n.*regular expressions"),
        ({"alpha_pattern": {"q_proj": "3"}}, r"alpha_pattern\['q_proj'\] is '3'"),
        ({"rank_pattern": 5}, "rank_pattern is 5"),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern\['q_proj'\] is 0.*\n.*above 0"),
        ({"r": 0}, "r is 0"),
        ({"r": -4}, "r is -4"),
        ({"r": None}, "r is None"),
        ({"r": 8}, "gives model.layers.0.self_attn.q_proj the rank 8, and its factors have 4"),
        ({"use_rslora": "no"}, "use_rslora is 'no'"),
        ({"fan_in_fan_out": 1}, "fan_in_fan_out is 1"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices is not supported.*\n.*merge"),
        ({"layer_replication": [[0, 1], [0, 1]]}, "layer_replication is not supported.*\n.*more layers"),
        ({"target_parameters": ["experts.w"]}, "target_parameters is not supported"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is not supported.*\n.*depends on the input"),
        ({"lora_bias": True}, "lora_bias is not supported"),
    ],
)
def test_configs_that_mean_nothing_or_something_else(fields, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    change(tmp_path / "a" / "adapter_config.json", **fields)
    with pytest.raises(FusionBenchError, match=message) as error:
        opened(tmp_path)
    assert str(tmp_path / "a" / "adapter_config.json") in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "holds a list"), ("{", "cannot read"), ("{}", "no peft_type"), ("\xff", "cannot read")],
)
def test_configs_that_are_none(text, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    (tmp_path / "a" / "adapter_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FusionBenchError, match=message):
        opened(tmp_path)


def test_factors_that_make_no_product(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    stored = load_file(file)
    key = next(key for key in stored if "lora_A" in key)
    for broken in (torch.zeros(32), torch.zeros(3, 32), torch.zeros(0, 32)):
        save_file({**stored, key: broken}, file)
        with pytest.raises(FusionBenchError, match="have no product"):
            opened(tmp_path)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin", "mine.safetensors"])
def test_an_adapters_file_is_not_a_checkpoint(name, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    if name.endswith(".bin"):
        torch.save(load_file(file), tmp_path / "a" / name)
    else:
        file = file.rename(tmp_path / "a" / name)
    with pytest.raises(FusionBenchError, match=f"{name} is an adapter's file\n.*give its folder, "):
        open_checkpoint(tmp_path / "a" / name)


def test_a_whole_model_beside_an_adapters_config(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = (tmp_path / "base" / "model.safetensors").rename(tmp_path / "a" / "model.safetensors")
    assert len(open_checkpoint(file)) == len(llama().state_dict())


def test_an_adapters_folder_without_its_config(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    (tmp_path / "a" / "adapter_config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"is an adapter without adapter_config\.json"):
        opened(tmp_path)
