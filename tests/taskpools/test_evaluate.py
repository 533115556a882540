"""Evaluation: answers that are generated, memory that does not suffice, the type that models compute in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.models.ensemble import Ensemble, TaskRouted
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.batch import Batch, moved
from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps, is_out_of_memory, precision_on

CLASSES, EXAMPLES, WIDTH = 5, 23, 6


class Toy(TaskAdapter):
    """Rows of random numbers through a linear model; it generates the *least* likely class, so the two differ."""

    classes = tuple("abcde")

    def __init__(self, task: str = "toy", *, generates: bool = False, batch: int = 8, named: bool = False) -> None:
        self.task, self.generates, self._batch, self._named = task, generates, batch, named
        draw = torch.Generator().manual_seed(7)
        self._rows = torch.randn(EXAMPLES, WIDTH, generator=draw)
        self._labels = torch.randint(CLASSES, (EXAMPLES,), generator=draw)
        self.generated = 0

    def size(self, split: str) -> int:
        return EXAMPLES

    def inputs(self, split: str) -> Iterator[Batch]:
        for rows in self._rows.split(self._batch):
            yield {"rows": rows} if self._named else rows

    def labels(self, split: str) -> Tensor:
        return self._labels

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["rows"] if isinstance(batch, Mapping) else batch)

    def generate(self, model: nn.Module, batch: Batch) -> Tensor:
        self.generated += 1
        scores = self.logits(model, batch)
        return torch.where(scores.amax(1) > 1, scores.argmin(1), -1)

    def data_hash(self, split: str) -> str:
        return "toy"


def linear(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(WIDTH, CLASSES).requires_grad_(False)


class Small(nn.Module):
    """Stands for a model on a device with room for ``room`` examples."""

    def __init__(self, inner: nn.Module, room: int, error: Exception | None = None) -> None:
        super().__init__()
        self.inner, self.room, self.seen = inner, room, []
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append(len(rows))
        if len(rows) > self.room:
            raise self.error
        return self.inner(rows)


def test_what_is_generated_counts_and_logits_say_how_sure() -> None:
    model, adapter = linear(), Toy(generates=True)
    found = evaluate(model, {"toy": adapter})["toy"]
    scores = model(adapter._rows)
    expected = torch.where(scores.amax(1) > 1, scores.argmin(1), -1)
    assert set(expected.tolist()) > {-1}  # both kinds of answers are among them
    assert np.array_equal(found.prediction, expected.numpy())
    plain = evaluate(model, {"toy": Toy()})["toy"]
    assert np.array_equal(found.loss, plain.loss)
    assert np.array_equal(found.confidence, plain.confidence)
    assert found.value == pytest.approx(float((expected == adapter._labels).float().mean()))
    assert found.prediction.dtype == np.int64


def test_answers_are_kept_like_logits() -> None:
    model, adapter = linear(), Toy(generates=True)
    cache = LogitCache(lambda one: "mine" if one is model else None)
    first = evaluate(model, {"toy": adapter}, cache=cache)["toy"]
    once = adapter.generated
    again = evaluate(TaskRouted({"toy": model}), {"toy": adapter}, cache=cache)["toy"]
    assert adapter.generated == once > 0
    assert np.array_equal(first.prediction, again.prediction)
    assert cache.bytes_held() == EXAMPLES * (4 * CLASSES + 8)


def test_an_ensemble_predicts_by_its_combined_logits() -> None:
    members = {"a": linear(0), "b": linear(1)}
    adapter = Toy(generates=True)
    found = evaluate(Ensemble(members), {"toy": adapter})["toy"]
    combined = Ensemble(members).combine([model(adapter._rows) for model in members.values()])
    assert np.array_equal(found.prediction, combined.argmax(1).numpy())
    assert adapter.generated == 0


@pytest.mark.parametrize("answer", [torch.full((8,), CLASSES), torch.full((8,), -2), torch.zeros(8)])
def test_answers_that_are_no_classes_are_refused(answer: Tensor) -> None:
    adapter = Toy(generates=True)
    adapter.generate = lambda model, batch: answer[: len(batch)]  # type: ignore[method-assign]
    with pytest.raises(FusionBenchError, match="generate of 'toy' gave"):
        evaluate(linear(), {"toy": adapter})


def test_an_adapter_that_does_not_generate_says_so() -> None:
    class Words(Toy):
        generate = TaskAdapter.generate

    with pytest.raises(FusionBenchError, match="'toy' does not generate"):
        evaluate(linear(), {"toy": Words(generates=True)})


@pytest.mark.parametrize("room", [1, 2, 3, 7])
@pytest.mark.parametrize("named", [False, True])
def test_a_batch_that_does_not_fit_is_cut_and_the_size_is_kept(room: int, named: bool) -> None:
    model, steps = Small(linear(), room), Steps()
    found = evaluate(model, {"toy": Toy(named=named)}, steps=steps)["toy"]
    plain = evaluate(linear(), {"toy": Toy()})["toy"]
    assert np.array_equal(found.prediction, plain.prediction)
    assert np.allclose(found.loss, plain.loss, rtol=1e-6)
    limit = steps.limit("cpu")
    assert limit is not None
    assert room / 2 < limit <= room
    failed = [size for size in model.seen if size > room]
    assert failed == [8, 4, 2][: len(failed)]  # halves, and never tried again
    model.seen.clear()
    evaluate(model, {"toy": Toy()}, steps=steps)
    assert max(model.seen) <= room


def test_memory_that_suffices_changes_no_bit_and_no_size() -> None:
    model, steps = Small(linear(), EXAMPLES), Steps()
    found = evaluate(model, {"toy": Toy()}, steps=steps)["toy"]
    assert steps.limit("cpu") is None
    assert model.seen == [8, 8, 7]
    rows = torch.cat([linear()(rows) for rows in Toy()._rows.split(8)])
    loss = nn.functional.cross_entropy(rows.double(), Toy()._labels, reduction="none")
    assert np.allclose(found.loss, loss.numpy(), rtol=1e-12)


def test_not_even_one_example_fits() -> None:
    with pytest.raises(FusionBenchError, match="evaluating 'toy': cpu runs out of memory with one example"):
        evaluate(Small(linear(), 0), {"toy": Toy()})


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_errors_of_every_allocator_are_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    evaluate(Small(linear(), 4, error), {"toy": Toy()})


def test_other_errors_come_through_at_once() -> None:
    model = Small(linear(), 4, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        evaluate(model, {"toy": Toy()})
    assert model.seen == [8]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("fusion_bench-ahead")]


def test_nothing_of_a_failed_attempt_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed before memory ran out must be free when the half is tried."""
    import gc
    import weakref

    held: list[weakref.ref[Tensor]] = []

    class Hungry(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            assert all(ref() is None for ref in held)
            activations = rows * 2
            if len(rows) > 4:
                held.append(weakref.ref(activations))
                raise RuntimeError("CUDA out of memory")
            return linear()(activations)

    gc.disable()
    try:
        evaluate(Hungry(), {"toy": Toy()})
    finally:
        gc.enable()
    assert held


def test_precision_is_autocasts_and_results_are_float32() -> None:
    seen = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, rows: Tensor) -> Tensor:
            found = self.inner(rows)
            seen.append(found.dtype)
            return found

    model, full, half = Looking(), Steps("auto"), Steps("bfloat16")
    cache = LogitCache(lambda one: "mine")
    exact = evaluate(model, {"toy": Toy()}, steps=full, cache=cache)["toy"]
    rough = evaluate(model, {"toy": Toy()}, steps=half, cache=cache)["toy"]
    assert set(seen[:3]) == {torch.float32}
    assert set(seen[3:]) == {torch.bfloat16}  # the cache tells the two apart
    assert not np.array_equal(exact.loss, rough.loss)
    assert np.allclose(exact.loss, rough.loss, atol=0.05)
    assert cache.bytes_held() == 2 * 4 * EXAMPLES * CLASSES


def test_what_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = {"cuda": (9, 0), "cuda:1": (7, 5)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    assert [precision_on(device, "auto") for device in ("cpu", "cuda", "cuda:1")] == ["float32", "bfloat16", "float32"]
    assert precision_on("cuda", "float32") == "float32"
    with pytest.raises(FusionBenchError, match="did you mean 'bfloat16'"):
        Steps("bfloat")  # type: ignore[arg-type]


def test_a_batch_by_names_is_moved_whole() -> None:
    rows = torch.ones(2, 3)
    assert moved(rows, "cpu") is rows
    assert moved({"a": rows}, "cpu")["a"] is rows  # type: ignore[index]


def test_what_is_kept_needs_no_model(toy_assets) -> None:
    """Members of an ensemble, and references, are built for logits that are not kept, and one after the other."""
    from fusion_bench.models.ensemble import Ensemble
    from fusion_bench.registry import load_modelpool, load_taskpool
    from fusion_bench.taskpools.evaluate import LogitCache, evaluate

    pool = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})
    source = {
        "type": "zero_shot_classification",
        "path": str(toy_assets / "tasks_toy"),
        "tasks": ["circles", "stripes"],
    }
    adapters, cache, built = load_taskpool(source).bind(pool), LogitCache(pool.owns), []
    original = pool.model
    pool.model = lambda name: built.append(name) or original(name)

    def ensemble() -> Ensemble:
        return Ensemble({name: pool.lent(name) for name in pool.expert_names})

    first = evaluate(ensemble(), adapters, cache=cache)
    once = [name for name in built if name != "base"]
    assert sorted(once) == sorted(2 * list(pool.expert_names))  # each for each task
    again = evaluate(ensemble(), adapters, cache=cache)
    assert [name for name in built if name != "base"] == once
    assert all((first[task].confidence == again[task].confidence).all() for task in adapters)
