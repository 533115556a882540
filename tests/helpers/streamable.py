"""Models of all layouts whose layers may come and go, and what shows that they did and left no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.taskpools.streaming import least_room, tensors_of, weight_bytes
from tests.helpers.tiny_causal import decoder_config
from tests.helpers.tiny_text import gpt2_config, random_model, t5_config

IDS = torch.arange(4, 16).reshape(2, 6)
BEGUN = IDS[:, :3].clone()
STEPS = torch.linspace(-1, 1, 128).reshape(2, 4, 16)
ROWS = STEPS[0].clone()
KINDS = ("gpt2", "llama", "t5", "clip", "bert", "open_clip", "inner", "transformer", "tables")


def made(kind: str) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """A model of random weights, and what it is asked."""
    import transformers

    pictures = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    if kind == "gpt2":
        return random_model(transformers.GPT2LMHeadModel, gpt2_config(), seed=0), lambda m: m(IDS).logits
    if kind == "llama":
        config = decoder_config("Llama", tie_word_embeddings=True)
        return random_model(transformers.LlamaForCausalLM, config, seed=0), lambda m: m(IDS).logits
    if kind == "t5":
        model = random_model(transformers.T5ForConditionalGeneration, t5_config(), seed=0)
        return model, lambda m: m(input_ids=IDS, decoder_input_ids=BEGUN).logits
    if kind == "clip":
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
        clip = transformers.CLIPVisionConfig(**sizes, image_size=16, patch_size=8)
        model = random_model(transformers.CLIPVisionModelWithProjection, clip, seed=0)
        return model, lambda m: m(pixel_values=pictures).image_embeds
    if kind == "bert":
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = random_model(transformers.BertModel, transformers.BertConfig(vocab_size=60, **sizes), seed=0)
        return model, lambda m: m(IDS).last_hidden_state
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind in ("open_clip", "inner"):  # has weights of its own beside its parts, and torch's attention
            from open_clip.model import VisionTransformer

            tower = VisionTransformer(16, 8, 16, 2, 2, 2.0, output_dim=8)
            return (nn.Sequential(tower) if kind == "inner" else tower).eval(), lambda m: m(pictures)
        if kind == "tables":
            return nn.Sequential(nn.Linear(16, 4), Table(), nn.Linear(4, 16)).eval(), lambda m: m(ROWS)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)  # reads weights of parts that it never calls
        return nn.TransformerEncoder(layer, 3).eval(), lambda m: m(STEPS)


class Table(nn.Module):
    """Has parts, and beside them only a buffer that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 20), nn.Linear(20, 4)
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return self.second(self.first(rows + self.table))


def rooms(model: nn.Module) -> list[int]:
    least, total = least_room(model), weight_bytes(model)
    return sorted({least, (3 * least + total) // 4, (least + total) // 2, total - 1})


def there(model: nn.Module) -> int:
    """Bytes of a twin's tensors that are on the device now."""
    return sum(t.numel() * t.element_size() for t in tensors_of(model) if t.device.type != "meta")


def watched(twin: nn.Module) -> list[int]:
    """Bytes on the device whenever a module of a twin is at work."""
    seen: list[int] = []

    def watch(inner: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*arguments: Any, **options: Any) -> Any:
            seen.append(there(twin))
            return inner(*arguments, **options)

        return forward

    for module in twin.modules():
        if hasattr(module, "_old_forward"):
            module._old_forward = watch(module._old_forward)
    return seen


class Unchanged:
    """Says whether a model is as it was: the same tensors with the same values, no hooks."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before = {name: (id(t), t.requires_grad, t.clone()) for name, t in self._tensors()}
        self._attributes = [set(vars(module)) for module in model.modules()]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._model.named_parameters(remove_duplicate=False)
        yield from self._model.named_buffers(remove_duplicate=False)

    def check(self) -> None:
        now = dict(self._tensors())
        assert set(now) == set(self._before)
        for name, (one, grad, values) in self._before.items():
            assert (id(now[name]), now[name].requires_grad) == (one, grad)
            assert torch.equal(now[name], values)
        assert [set(vars(module)) for module in self._model.modules()] == self._attributes
