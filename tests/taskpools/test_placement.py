"""Models on devices: copies whose memory is free afterwards, and weights that make way where nothing else helps."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools import placement, streaming
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.placement import NoRoom, Placing, free_for_weights, placed, weights_dtype
from fusion_bench.taskpools.steps import Steps
from fusion_bench.taskpools.streaming import tensors_of, weight_bytes
from tests.helpers.streamable import KINDS, Unchanged, made, there
from tests.taskpools.test_evaluate import CLASSES, WIDTH, Toy


def test_a_model_that_fits_where_it_lies_is_run_itself() -> None:
    model, _ = made("gpt2")
    model.train()
    for room in (None, weight_bytes(model)):
        with placed(model, "cpu", room=room) as same:
            assert same is model
            assert not model.training
    assert there(model) == weight_bytes(model)


@pytest.mark.parametrize("kind", KINDS)
def test_elsewhere_it_is_a_twin_of_copies(kind: str) -> None:
    """torch copies to "cpu:0" what lies on "cpu", as it copies to a GPU."""
    model, asked = made(kind)
    before = Unchanged(model)
    mine = {tensor.data_ptr() for tensor in tensors_of(model)}
    with torch.inference_mode(), placed(model, "cpu:0") as twin:
        assert torch.equal(asked(twin), asked(model))
        assert there(twin) == weight_bytes(model)  # tied weights are one tensor there too
        assert mine.isdisjoint(tensor.data_ptr() for tensor in tensors_of(twin))
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
    before.check()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("room", [None, 20_000])
def test_memory_is_free_at_once_whatever_happens(room: int | None, error: type[BaseException]) -> None:
    model, asked = made("gpt2")
    before = Unchanged(model)
    held: list[weakref.ref[Tensor]] = []
    mine = {id(tensor) for tensor in tensors_of(model)}

    def fail() -> None:
        with placed(model, "cpu:0" if room is None else "cpu", room=room) as twin, torch.inference_mode():
            held.extend(weakref.ref(t) for t in tensors_of(twin) if t.device.type != "meta" and id(t) not in mine)
            asked(twin)
            raise error

    gc.disable()
    try:
        with pytest.raises(error):
            fail()
        assert held
        assert not [one for one in held if one() is not None]
    finally:
        gc.enable()
    before.check()


@pytest.mark.parametrize("room", [None, 30_000])
def test_no_room_for_the_copies(room: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = made("gpt2")
    before = Unchanged(model)

    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(placement, "_carried" if room is None else "dispatch", full)
    with pytest.raises(NoRoom, match="cuda:7 ran out of memory while weights of 34 kB were brought"):
        placed(model, "cuda:7", room=room).__enter__()
    before.check()


def test_room_is_what_a_gpu_has_free_less_some_for_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(torch.cuda, "mem_get_info", {"cuda": (50, 100), "cuda:1": (5, 100)}.__getitem__)
    assert [free_for_weights(device) for device in ("cpu", "cuda", "cuda:1")] == [None, 40, 0]
    assert emptied == [True, True]
    assert Placing({"cuda": 60})._bound("cuda") == 40
    assert Placing({"cuda": 30})._bound("cuda") == 30
    assert [Placing({"cpu": 7})._bound("cpu"), Placing()._bound("cpu")] == [7, None]


def test_types_of_weights() -> None:
    half, _ = made("gpt2")
    assert weights_dtype(half) == "float32"
    half.transformer.h.bfloat16()
    assert weights_dtype(half) == "bfloat16, float32"
    assert weights_dtype(nn.ReLU()) == "none"


class Layers(nn.Module):
    """Linear layers, on a device where memory does not suffice while more than ``most`` bytes of weights are there."""

    def __init__(self, most: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(8)), nn.Linear(WIDTH, CLASSES))
        self.most, self.seen = most, []

    def __deepcopy__(self, memo: dict[int, Any]) -> Layers:
        twin = Layers(self.most)
        twin.layers, twin.seen = copy.deepcopy(self.layers, memo), self.seen
        return twin

    def forward(self, rows: Tensor) -> Tensor:
        held = there(self)
        self.seen.append((held, len(rows)))
        if held > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.layers(rows)


def test_weights_make_way_where_not_one_example_fits() -> None:
    model, whole = Layers(400), Layers(10**6)
    expected = evaluate(whole, {"toy": Toy()})["toy"]
    steps = Steps(room={"cpu": weight_bytes(model)})
    with pytest.warns(UserWarning, match=r"weights of 1 kB run on cpu a layer at a time, which is slow"):
        found = evaluate(model, {"toy": Toy()}, steps=steps)["toy"]
    assert np.array_equal(found.loss, expected.loss)
    assert steps.placing.how == "streamed"
    assert [rows for _, rows in model.seen] == [8, 4, 2, 1, 8, 4, 2, 1, 8, 8, 7]  # with fewer weights batches are whole
    assert [held for held, _ in model.seen] == sorted((held for held, _ in model.seen), reverse=True)
    model.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was told
        evaluate(model, {"toy": Toy(), "again": Toy("again")}, steps=steps)
    assert [rows for _, rows in model.seen] == 2 * [8, 8, 7]  # and what left room is known


def test_where_no_weights_can_make_way_the_error_stays() -> None:
    for steps in (Steps(room={"cpu": 10**6}), Steps()):
        model = Layers(-1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(FusionBenchError, match="evaluating 'toy': cpu runs out of memory with one example"):
                evaluate(model, {"toy": Toy()}, steps=steps)
    assert [rows for _, rows in model.seen] == [8, 4, 2, 1]  # on a CPU it would be no use


def test_a_model_is_placed_once_for_all_tasks_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = placement.placed

    def noted(*arguments: Any, **options: Any) -> Any:
        calls.append("placed")
        return original(*arguments, **options)

    monkeypatch.setattr(placement, "placed", noted)
    monkeypatch.setattr(placement, "unhook", lambda twin: (calls.append("taken"), streaming.unhook(twin)))
    model = Layers(10**6)
    tasks = {name: Toy(name, generates=True) for name in "abc"}
    found = evaluate(model, tasks, device="cpu:0")
    assert calls == ["placed", "taken"]
    assert np.array_equal(found["a"].loss, evaluate(model, tasks)["a"].loss)
    calls.clear()
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(model, {"toy": Broken()}, device="cpu:0")
    assert calls == ["placed", "taken"]


class Broken(Toy):
    def logits(self, model: nn.Module, batch: Any) -> Tensor:
        raise RuntimeError("broken")
