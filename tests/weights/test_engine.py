"""The engine: the same bytes however the work is cut, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fusion_bench import registry
from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.plan import make_plan

BUILT = {name: registry.build("algorithm", name) for name in registry.names("algorithm")}
MERGING = {name: built for name, built in BUILT.items() if isinstance(built, MergingAlgorithm)}
every = pytest.mark.parametrize("name", sorted(MERGING))


def models(count=3, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (70, 90), "a.bias": (70,), "b.weight": (5, 3), "norm": (), "empty": (0, 4), "z": (5000,)}
    base = {n: torch.randn(s, generator=g).to(dtype) for n, s in shapes.items()}
    base["steps"] = torch.tensor([3])
    experts = {}
    for i in range(count):
        experts[f"e{i}"] = {
            n: (t + 0.1 * torch.randn(t.shape, generator=g).to(dtype)) if t.is_floating_point() else t + i
            for n, t in base.items()
        }
    return base, experts


def bits(state):
    views = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return {n: t.view(views[t.element_size()]) if t.is_floating_point() else t for n, t in state.items()}


def same(one, other):
    one, other = bits(one), bits(other)
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_and_threads_change_no_bit(name, dtype):
    base, experts = models(dtype=dtype)
    rule = MERGING[name]
    expected = merge_in_memory(rule, base, experts, scaling=rule.step_size, chunk=1 << 20, threads=1)
    for chunk, threads in [(7, 2), (4096, 1), (4096, 8), (1 << 20, 8), (1000, 2)]:
        found = merge_in_memory(rule, base, experts, scaling=rule.step_size, chunk=chunk, threads=threads)
        assert same(found, expected), (chunk, threads)


@pytest.mark.parametrize("name", ["ties", "slerp", "dare_linear_mergekit", "simple_average"])
def test_chunks_of_one_entry(name):
    base, experts = models()
    small = [{n: s[n] for n in ("b.weight", "norm", "empty", "steps")} for s in (base, *experts.values())]
    rule = MERGING[name]
    one = merge_in_memory(rule, small[0], dict(zip(experts, small[1:], strict=True)), scaling=rule.step_size, chunk=1)
    assert same(one, rule.merge(small[0], dict(zip(experts, small[1:], strict=True))))


@pytest.mark.parametrize("name", ["tsv_m", "iso_c"])
def test_large_matrices_give_the_same_bits_on_any_number_of_threads(name, tmp_path):
    """They are worked on in float32, by libraries that are told to use one thread; from memory and from disk."""
    g = torch.Generator().manual_seed(0)
    base = {f"w{i}": torch.randn(260, 300, generator=g) for i in range(4)}
    experts = {f"e{k}": {n: t + 0.1 * torch.randn(t.shape, generator=g) for n, t in base.items()} for k in range(3)}
    rule = MERGING[name]
    expected = merge_in_memory(rule, base, experts, scaling=rule.step_size, threads=1)
    for threads in (2, 8):
        assert same(merge_in_memory(rule, base, experts, scaling=rule.step_size, threads=threads), expected)
    for label, state in {"base": base, **experts}.items():
        save(tmp_path / label, state, shards=2)
    merge(
        rule, base=tmp_path / "base", experts={n: tmp_path / n for n in experts}, out=tmp_path / "out", memory="64MiB"
    )
    assert same(dict(open_checkpoint(tmp_path / "out")), expected)


def save(folder, state, shards=1):
    folder.mkdir(parents=True)
    names = list(state)
    if shards == 1:
        save_file(state, folder / "model.safetensors")
    else:
        where = {n: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, n in enumerate(names)}
        for file in set(where.values()):
            save_file({n: state[n] for n in names if where[n] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text("{}")
    return folder


@every
def test_disk_equals_memory_for_every_split_into_shards_and_order_of_inputs(name, tmp_path):
    base, experts = models()
    rule = MERGING[name]
    if name in ("slerp", "linear_interpolation"):
        rule = replace(rule, between=("e0", "e1"))
    expected = rule.merge(base, experts)
    for number, (base_shards, shards, order) in enumerate([(1, 1, 1), (1, 3, -1), (3, 2, 1)]):
        root = tmp_path / str(number)
        origin = save(root / "base", base, base_shards)
        paths = [save(root / f"e{i}", experts[f"e{i}"], shards) for i in range(3)][::order]
        merge(rule, base=origin, experts=paths, out=root / "out", hashes=False)
        found = open_checkpoint(root / "out")
        assert same({n: found[n] for n in expected}, expected)
        assert sorted(p.name for p in (root / "out").glob("*.safetensors")) == sorted(
            p.name for p in origin.glob("*.safetensors")
        )
        assert (root / "out" / "config.json").is_file()
    files = {}
    for file in (root / "out").glob("*.safetensors"):
        files.update(load_file(file))
    assert same({n: files[n] for n in expected}, expected)


SHAPES = st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    SHAPES,
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_any_shapes_types_and_layouts(shapes, dtype, seed, strided):
    g = torch.Generator().manual_seed(seed)

    def state():
        made = {str(i): torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for i, s in enumerate(shapes)}
        return {n: t.mT.contiguous().mT if strided and t.dim() > 1 else t for n, t in made.items()}

    base, experts = state(), {"a": state(), "b": state()}
    for name in ("simple_average", "task_arithmetic", "ties", "dare_ties", "slerp", "ties_peft"):
        rule = MERGING[name]
        merged = rule.merge(base, experts)
        assert {n: (t.shape, t.dtype) for n, t in merged.items()} == {n: (t.shape, t.dtype) for n, t in base.items()}
        dense = [{n: t.contiguous() for n, t in s.items()} for s in (base, experts["a"], experts["b"])]
        again = merge_in_memory(
            rule, dense[0], {"a": dense[1], "b": dense[2]}, scaling=rule.step_size, chunk=3, threads=2
        )
        assert same(merged, again)


def test_tied_tensors_are_merged_once_and_stay_tied():
    base, experts = models()
    for state in (base, *experts.values()):
        state["head"] = state["a.weight"]
    merged = MERGING["dare_ties"].merge(base, experts)  # masks are keyed by name: apart, the two would differ
    assert merged["head"] is merged["a.weight"]
    experts["e0"]["head"] = experts["e0"]["head"].clone()  # tied in all, or not tied
    loose = MERGING["dare_ties"].merge(base, experts)
    assert not torch.equal(loose["head"], loose["a.weight"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", ["base", "e1"])
@pytest.mark.parametrize("name", ["simple_average", "task_arithmetic", "ties", "tsv_m"])
def test_non_finite_entries_are_named_with_file_and_place(bad, which, name, tmp_path):
    base, experts = models()
    {"base": base, **experts}[which]["a.weight"][3, 4] = bad
    paths = {n: save(tmp_path / n, s) for n, s in {"base": base, **experts}.items()}
    if (name, which) == ("simple_average", "base"):
        return  # the base's floating tensors are not read by an average
    with pytest.raises(FusionBenchError, match=rf"{which}.model.safetensors: tensor 'a.weight' .* at \[3, 4\]"):
        merge(name, base=paths.pop("base"), experts=list(paths.values()), out=tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


def test_non_finite_entries_can_be_let_through():
    base, experts = models()
    experts["e0"]["norm"].fill_(float("nan"))
    merged = merge("simple_average", base=base, experts=experts, on_non_finite="allow")
    assert merged["norm"].isnan()


def test_large_finite_values_are_not_mistaken(tmp_path):
    base = {"w": torch.full((10,), 3e38)}
    merged = merge("simple_average", base=base, experts=[base, base])
    assert torch.equal(merged["w"], base["w"])
    wide = {"w": torch.full((10,), 1e300, dtype=torch.float64)}
    assert torch.equal(merge("simple_average", base=wide, experts=[wide])["w"], wide["w"])


def test_a_result_that_overflows_is_named():
    base, expert = {"w": torch.zeros(2, dtype=torch.float16)}, {"w": torch.full((2,), 6e4, dtype=torch.float16)}
    with pytest.raises(FusionBenchError, match=r"merged model: tensor 'w' is not finite in torch.float16 at \[0\]"):
        merge("task_arithmetic", base=base, experts=[expert], scaling=2.0)


def test_a_rule_that_changes_the_number_of_entries_is_refused(rule):
    with pytest.raises(FusionBenchError, match="'w' into 1"):
        merge_in_memory(
            rule(lambda scan: lambda piece: piece.base.sum()),
            {"w": torch.ones(3)},
            [{"w": torch.ones(3)}],
            scaling=None,
        )


@pytest.mark.parametrize("options", [{"memory": 1000}, {"threads": 0}, {"chunk": 0}, {"dtype": torch.int8}])
def test_options_of_the_plan(options):
    state = open_checkpoint({"w": torch.ones(3)})
    with pytest.raises(FusionBenchError, match=next(iter(options))):
        make_plan(state, {"e": state}, MERGING["ties"], **options)


def test_inputs_are_read_once_per_pass(tmp_path):
    base, experts = models()
    paths = {n: save(tmp_path / n, s) for n, s in {"base": base, **experts}.items()}
    origin = paths.pop("base")
    one = sum(t.numel() * t.element_size() for t in base.values() if t.is_floating_point())
    counters = 4 * 8  # the base's integer tensor, carried over, and compared with those of the first two experts
    for name, expected in {
        "task_arithmetic": 4 * one,
        "simple_average": 3 * one,  # no base
        "slerp": 2 * 2 * one,  # two models, twice
    }.items():
        report = merge(name, base=origin, experts=list(paths.values()), out=tmp_path / name, hashes=False)
        assert report.bytes_read == expected + counters
