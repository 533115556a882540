"""How adapters lie in their base, against what peft makes of them: tied to its head or not, and which way round."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint
from tests.helpers.tiny_adapters import change, check, llama, opened, save

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[oracles]'")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def gpt2(kind="GPT2LMHeadModel", **options):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=48, n_embd=32, n_layer=1, n_head=2, n_positions=16, tie_word_embeddings=False, **options
    )
    model = getattr(transformers, kind)(config)
    model.config.pad_token_id = 0
    return model


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
