"""Models a layer at a time: within their room, the same to the bit, on a GPU too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools import streaming
from fusion_bench.taskpools.placement import placed
from fusion_bench.taskpools.streaming import least_room, plan, tensors_of, weight_bytes
from tests.helpers.streamable import IDS, KINDS, Unchanged, made, rooms, there, watched


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_it_says_the_same_within_its_room(kind: str) -> None:
    model, asked = made(kind)
    before = Unchanged(model)
    with torch.inference_mode():
        expected = asked(model)
        stayed = []
        for room in rooms(model):
            with placed(model, "cpu", room=room) as twin:
                assert twin is not model
                stayed.append(there(twin))
                seen = watched(twin)
                assert torch.equal(asked(twin), expected)
                assert torch.equal(asked(twin), expected)  # and again, when layers have come and gone
                assert stayed[-1] < max(seen) <= room
            before.check()
    assert stayed == sorted(stayed)
    assert len(set(stayed)) > 1 or kind == "inner"  # more room is used


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_what_it_writes_is_the_same(kind: str) -> None:
    model, _ = made(kind)

    def write(one: Any) -> list[list[int]]:
        with torch.inference_mode():
            return one.generate(IDS, max_new_tokens=5, do_sample=False, attention_mask=torch.ones_like(IDS)).tolist()

    for room in rooms(model):
        with placed(model, "cpu", room=room) as twin:
            assert write(twin) == write(model)


def test_what_comes_and_goes_is_not_kept_by_autocast() -> None:
    """It keeps a rounded copy of every weight that asks for gradients, for as long as it is open."""
    model, asked = made("gpt2")
    model.requires_grad_(True)
    expected = []
    for one in (None, least_room(model)):
        with placed(model, "cpu", room=one) as twin, torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            expected.append(asked(twin))
            assert one is None or not any(p.requires_grad for p in twin.parameters())
    assert torch.equal(*expected)


def test_a_layer_that_does_not_fit_alone_is_named() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(100, 100), nn.Linear(10, 10))
    message = r"weights of 41 kB do not fit on cpu, which has 40 kB for them, and neither does '1', .* alone: 40 kB"
    with pytest.raises(FusionBenchError, match=message), placed(model, "cpu", room=40_399):
        pass
    assert set(plan(model, "cpu", 40_400).values()) == {"cpu"}


@pytest.mark.parametrize(("found", "message"), [(None, "which is not installed"), ("1.1.0", "1.1.0 is installed")])
def test_without_accelerate_only_what_does_not_fit_is_refused(
    found: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    model, _ = made("gpt2")
    monkeypatch.setattr(streaming, "version", version)
    with placed(model, "cpu", room=weight_bytes(model)) as same:
        assert same is model
    with pytest.raises(FusionBenchError, match=f"a layer at a time needs accelerate.* {message}") as refused:
        placed(model, "cpu", room=weight_bytes(model) - 1).__enter__()
    assert "pip install" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_no_layer_meets_a_tensor_of_the_host(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without values know their device, a GPU where there is none too, and refuse those of another."""
    from accelerate import big_modeling, hooks
    from torch._subclasses.fake_tensor import FakeTensorMode

    def moved(module: nn.Module, name: str, device: Any, value: Tensor | None = None, **_: Any) -> None:
        owner, _, leaf = name.rpartition(".")
        owner_module = module.get_submodule(owner)
        tensors = owner_module._parameters if leaf in owner_module._parameters else owner_module._buffers
        tensors[leaf] = (tensors[leaf] if value is None else value).to(device)

    monkeypatch.setattr(hooks, "set_module_tensor_to_device", moved)  # accelerate's makes parameters, which have values
    monkeypatch.setattr(big_modeling, "find_tied_parameters", lambda model: [])  # by addresses of values
    model, asked = made(kind)
    for room in rooms(model):
        mode = FakeTensorMode()
        memo: dict[int, Any] = {}
        for tensor in tensors_of(model):
            without = mode.from_tensor(tensor.detach())
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(without, requires_grad=False) if is_parameter else without
        empty = copy.deepcopy(model, memo)
        with mode, torch.no_grad(), placed(empty, "cuda:0", room=room) as twin:
            batch = _on_gpu(mode, asked)
            assert batch(twin).device == torch.device("cuda:0")
            assert {str(tensor.device) for tensor in tensors_of(twin)} <= {"meta", "cuda:0"}


def _on_gpu(mode: Any, asked: Callable[[nn.Module], Tensor]) -> Callable[[nn.Module], Tensor]:
    """The same question with inputs on the GPU."""

    def ask(twin: nn.Module) -> Tensor:
        def forward(*arguments: Tensor, **options: Tensor) -> Any:
            def here(tensor: Tensor) -> Tensor:
                return mode.from_tensor(tensor).to("cuda:0")

            return twin(*map(here, arguments), **{name: here(tensor) for name, tensor in options.items()})

        return asked(forward)  # type: ignore[arg-type]

    return ask
