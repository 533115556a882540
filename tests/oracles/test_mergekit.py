"""mergekit 0.1.4, from folder to folder, on a Llama of a few thousand parameters."""

import json

import pytest
import torch
from torch.testing import assert_close

from fusion_bench.merging import merge
from fusion_bench.weights.opening import open_checkpoint
from tests.oracles.conftest import models


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base and three experts as transformers saves them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    root = tmp_path_factory.mktemp("llamas")
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=11,  # so that layer 10 sorts before layer 2
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=False,
        torch_dtype="float32",
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    base, experts = models(shapes, 3)
    for name, state in {"base": base, **experts}.items():
        model = LlamaForCausalLM(config)
        model.load_state_dict(state)
        model.save_pretrained(root / name, max_shard_size="20kB" if name == "base" else "5GB")
    return root


def configuration(folders, method, experts, parameters, each=None, base=True):
    listed = [{"model": str(folders / name), "parameters": dict(each or {})} for name in experts]
    if method == "slerp":
        listed = [{"model": str(folders / name)} for name in ("base", "e0")]
    return {
        "merge_method": method,
        "models": listed,
        "parameters": parameters,
        "dtype": "float32",
        **({"base_model": str(folders / "base")} if base else {}),
    }


ALL = ("e0", "e1", "e2")


@pytest.mark.parametrize(
    ("method", "parameters", "each", "ours"),
    [
        ("linear", {}, {"weight": 1.0}, ("simple_average", {})),
        ("task_arithmetic", {"lambda": 0.4}, {"weight": 1.0}, ("task_arithmetic", {"scaling": 0.4})),
        ("ties", {"lambda": 0.7, "normalize": True}, {"weight": 1.0, "density": 0.3}, ("ties_mergekit", {"scaling": 0.7, "density": 0.3})),
        ("ties", {"normalize": True}, {"weight": 0.5, "density": 1.0}, ("ties_mergekit", {"density": 1.0, "weights": [0.5, 0.5, 0.5]})),
        ("slerp", {"t": 0.3}, None, ("slerp", {"t": 0.3, "between": ["base", "e0"]})),
    ],
)  # fmt: skip
def test_same_result(method, parameters, each, ours, folders, oracle, tmp_path):
    config = configuration(folders, method, ALL, parameters, each, base=method != "linear")
    oracle("run_mergekit.py", json.dumps(config), tmp_path / "theirs", cwd=tmp_path)
    name, fields = ours
    merge(name, base=folders / "base", experts={e: folders / e for e in ALL}, out=tmp_path / "ours", **fields)
    theirs, mine = open_checkpoint(tmp_path / "theirs"), open_checkpoint(tmp_path / "ours")
    assert set(theirs) == set(mine)
    for key in mine:
        assert_close(mine[key], theirs[key], rtol=1e-5, atol=2e-6)


def test_dare_keeps_the_same_sum_of_magnitudes_that_ours_does(folders, oracle, tmp_path):
    """The masks are random in both; what they have in common is the factor on what survives."""
    each = {"weight": 1.0, "density": 0.5}
    config = configuration(folders, "dare_linear", ["e0"], {"lambda": 1.0, "rescale": True}, each)
    oracle("run_mergekit.py", json.dumps(config), tmp_path / "theirs", cwd=tmp_path)
    merge("dare_linear_mergekit", base=folders / "base", experts={"e0": folders / "e0"}, out=tmp_path / "ours")
    base, expert = open_checkpoint(folders / "base"), open_checkpoint(folders / "e0")
    for result in (open_checkpoint(tmp_path / "theirs"), open_checkpoint(tmp_path / "ours")):
        for key in result:
            delta, found = (expert[key] - base[key]).double(), (result[key] - base[key]).double()
            kept = found.abs() > 1e-6
            factor = delta.abs().sum() / (delta * kept).abs().sum()
            assert_close(found[kept], (delta * factor)[kept], rtol=1e-4, atol=3e-6)
            assert abs(int(kept.sum()) - 0.5 * kept.numel()) <= 4 * (0.25 * kept.numel()) ** 0.5 + 1


def test_the_result_opens_in_transformers(folders, tmp_path):
    from transformers import LlamaForCausalLM

    experts = {e: folders / e for e in ALL}
    merge("ties", base=folders / "base", experts=experts, out=tmp_path / "ours", dtype="bfloat16")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "ours")
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 1
    found = open_checkpoint(tmp_path / "ours")
    assert all(spec.dtype == torch.bfloat16 for spec in found.specs.values())
