"""Laws that every algorithm with a YAML file keeps; a method that does not keep one says so in a table here."""

import math
from dataclasses import fields, replace

import pytest
import torch

from fusion_bench import registry
from fusion_bench.algorithms.base import EnsembleAlgorithm, MergingAlgorithm, TaskVectorAlgorithm
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.task_vectors import add_task_vector

ALL = {name: registry.build("algorithm", name) for name in registry.names("algorithm")}
MERGING = {name: algorithm for name, algorithm in ALL.items() if isinstance(algorithm, MergingAlgorithm)}
SCALED = [name for name, algorithm in MERGING.items() if hasattr(algorithm, "scaling")]

# Law "copies of one model merge into that model": what T copies need, where the defaults do not do it.
COPIES = {
    "task_arithmetic": lambda t: {"scaling": 1 / t},
    "dare_task_arithmetic": lambda t: {"scaling": 1 / t, "density": 1.0},
    "ties": lambda t: {"scaling": 1.0, "density": 1.0},
    "dare_ties": lambda t: {"scaling": 1.0, "density": 1.0, "trim_density": 1.0},
    "ties_sum": lambda t: {"scaling": 1 / t, "density": 1.0},
    "ties_mergekit": lambda t: {"scaling": 1.0, "density": 1.0},
    "ties_peft": lambda t: {"scaling": 1.0, "density": 1.0},
    "dare_linear_mergekit": lambda t: {"scaling": 1 / t, "density": 1.0},
    "dare_ties_mergekit": lambda t: {"scaling": 1.0, "density": 1.0},
    "dare_ties_peft": lambda t: {"scaling": 1.0, "density": 1.0},
}
CHANGES_COPIES = {"iso_c", "tsv_m", "iso_c_matrices", "tsv_m_matrices"}  # a flat spectrum; a truncated one
NOT_ODD = {name for name, algorithm in MERGING.items() if getattr(algorithm, "undecided", None) == "positive"}
NOT_EQUIVARIANT = {"slerp"}  # an arc between weights is no function of task vectors
ORDERED = {  # the default depends on the pool's order: the law holds once that is fixed
    "linear_interpolation": {"between": ("cars", "svhn")},
    "slerp": {"between": ("cars", "svhn")},
}

every = pytest.mark.parametrize("name", sorted(MERGING))


def identical(a, b):
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and torch.equal(_bits(a[k]), _bits(b[k])) for k in a)


def _bits(tensor):
    sizes = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(sizes[tensor.element_size()]) if tensor.is_floating_point() else tensor


def test_the_algorithms_of_the_suite_are_all_here():
    expected = {
        *("pretrained", "experts", "multitask", "simple_average", "weighted_average", "linear_interpolation", "slerp"),
        *("task_arithmetic", "ties", "dare_task_arithmetic", "dare_ties", "tsv_m", "iso_c"),
        *("simple_ensemble", "weighted_ensemble", "max_model_predictor"),
    }
    assert expected <= set(ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_yaml_tells_what_the_class_is(name):
    config = registry.read_config("algorithm", name)
    algorithm = ALL[name]
    assert config["kind"] == algorithm.kind
    known = {field.name for field in fields(algorithm)}
    assert set(config.get("search", {})) <= known
    for option, values in config.get("search", {}).items():
        for value in values:
            replace(algorithm, **{option: value})  # each tried value is valid
    assert algorithm.random == ("seed" in known)


@pytest.mark.parametrize("name", [n for n in sorted(ALL) if registry.read_config("algorithm", n)["type"] == n])
def test_class_defaults_are_those_of_the_yaml(name):
    assert type(ALL[name])() == ALL[name]


@pytest.mark.parametrize("name", sorted(ALL))
def test_algorithms_are_frozen_and_refuse_unknown_options(name):
    with pytest.raises(AttributeError):
        ALL[name].scaling = 1.0
    with pytest.raises(FusionBenchError, match="scalling"):
        registry.build("algorithm", name, overrides={"scalling": 1.0})


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_result_has_the_bases_tensors_and_its_buffers(name, dtype, make_models):
    base, experts = make_models(dtype=dtype)
    merged = MERGING[name].merge(base, experts)
    assert list(merged) == list(base)
    for key, tensor in base.items():
        assert merged[key].shape == tensor.shape
        assert merged[key].dtype == tensor.dtype
        assert torch.isfinite(merged[key]).all()
    assert int(merged["steps"]) == 7
    assert merged["mask"].tolist() == [True, False]


@every
def test_inputs_stay_as_they_are_and_share_nothing_with_the_result(name, make_models):
    for dtype in (torch.float32, torch.float64):
        base, experts = make_models(dtype=dtype)
        before = [{k: v.clone() for k, v in state.items()} for state in (base, *experts.values())]
        merged = MERGING[name].merge(base, experts)
        for tensor in merged.values():
            tensor.zero_()
        for state, copy in zip((base, *experts.values()), before, strict=True):
            assert identical(state, copy)


@every
def test_inputs_of_one_float64_tensor_stay_as_they_are(name):
    # no copy is needed to work on these, so a method that wrote to its input would be seen here
    generator = torch.Generator().manual_seed(0)
    states = [{"w": torch.randn(4, 3, generator=generator, dtype=torch.float64)} for _ in range(4)]
    before = [state["w"].clone() for state in states]
    merged = MERGING[name].merge(states[0], states[1:])
    merged["w"].zero_()
    assert all(torch.equal(state["w"], copy) for state, copy in zip(states, before, strict=True))


@every
def test_same_input_same_bits(name, make_models):
    first = MERGING[name].merge(*make_models())
    assert identical(MERGING[name].merge(*make_models()), first)


@every
def test_order_of_experts_and_of_tensors_does_not_matter_to_the_bit(name, make_models):
    base, experts = make_models(5)
    algorithm = replace(MERGING[name], **ORDERED.get(name, {}))
    merged = algorithm.merge(base, experts)
    turned = {key: {k: experts[key][k] for k in reversed(experts[key])} for key in reversed(experts)}
    assert identical(algorithm.merge(base, turned), merged)
    backwards = algorithm.merge({k: base[k] for k in reversed(base)}, turned)
    assert identical({k: backwards[k] for k in base}, merged)


@pytest.mark.parametrize("name", sorted(set(MERGING) - CHANGES_COPIES))
@pytest.mark.parametrize("count", [2, 5])
def test_copies_of_one_model_merge_into_it(name, count, make_models):
    base, experts = make_models(1)
    copies = {f"copy{i}": experts["cars"] for i in range(count)}
    merged = replace(MERGING[name], **COPIES.get(name, lambda t: {})(count)).merge(base, copies)
    for key in base:
        if base[key].is_floating_point():
            torch.testing.assert_close(merged[key], experts["cars"][key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SCALED)
def test_scaling_zero_is_the_base_to_the_bit(name, make_models):
    base, experts = make_models()
    base["linear.bias"][0] = -0.0
    assert identical(replace(MERGING[name], scaling=0.0).merge(base, experts), base)


@pytest.mark.parametrize("name", SCALED)
def test_scaling_is_linear_in_the_step(name, make_models):
    base, experts = make_models(dtype=torch.float64)
    steps = [
        {
            k: v - base[k]
            for k, v in replace(MERGING[name], scaling=s).merge(base, experts).items()
            if v.is_floating_point()
        }
        for s in (0.5, 1.0, -1.0)
    ]
    for key in steps[0]:
        torch.testing.assert_close(2 * steps[0][key], steps[1][key])
        torch.testing.assert_close(-steps[2][key], steps[1][key])


@pytest.mark.parametrize("name", SCALED)
def test_a_search_over_the_scaling_gives_the_bits_of_merge(name, make_models):
    algorithm = MERGING[name]
    assert isinstance(algorithm, TaskVectorAlgorithm)
    base, experts = make_models()
    vector = replace(algorithm, scaling=123.0).task_vector(base, experts)
    for scaling in (0.3, 1.7):
        merged = replace(algorithm, scaling=scaling).merge(base, experts)
        assert identical(add_task_vector(base, vector, scaling=scaling), merged)


@pytest.mark.parametrize("name", sorted(set(MERGING) - NOT_EQUIVARIANT))
@pytest.mark.parametrize("factor", [2.0, -1.0, 0.25])
def test_scaling_all_task_vectors_scales_the_step(name, factor, make_models):
    if factor < 0 and name in NOT_ODD:
        pytest.skip("a sum of zero counts as positive whatever the sign of its terms, as in the tool it stands for")
    base, experts = make_models(dtype=torch.float64)
    scaled = {
        e: {k: base[k] + factor * (v - base[k]) if v.is_floating_point() else v for k, v in state.items()}
        for e, state in experts.items()
    }
    once, more = MERGING[name].merge(base, experts), MERGING[name].merge(base, scaled)
    for key in base:
        if base[key].is_floating_point():
            torch.testing.assert_close(more[key] - base[key], factor * (once[key] - base[key]), rtol=1e-9, atol=1e-12)


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_result_is_the_rounded_float32_result(name, dtype, make_models):
    base, experts = make_models(dtype=dtype)
    wide = [
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()} for state in (base, *experts.values())
    ]
    exact = MERGING[name].merge(wide[0], dict(zip(experts, wide[1:], strict=True)))
    merged = MERGING[name].merge(base, experts)
    for key in base:
        assert torch.equal(merged[key], exact[key].to(base[key].dtype))


@every
def test_experts_equal_to_the_base_leave_it(name, make_models):
    base, _ = make_models()
    merged = MERGING[name].merge(base, {"a": dict(base), "b": dict(base)})
    for key in base:
        torch.testing.assert_close(merged[key], base[key], rtol=1e-6, atol=1e-7)


@every
@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (2, 1, 3), (0,), (0, 2)])
@pytest.mark.parametrize("count", [2, 8])
def test_models_of_one_tiny_tensor(name, shape, count):
    generator = torch.Generator().manual_seed(3)
    base = {"w": torch.randn(shape, generator=generator)}
    experts = {f"e{i}": {"w": torch.randn(shape, generator=generator)} for i in range(count)}
    merged = MERGING[name].merge(base, experts)["w"]
    assert merged.shape == shape
    assert torch.isfinite(merged).all()
    bound = max(float((e["w"] - base["w"]).norm()) for e in experts.values()) if math.prod(shape) else 0.0
    assert float((merged - base["w"]).norm()) <= 4 * count * bound + 1e-6


@every
def test_bad_models_are_named(name, make_models):
    base, experts = make_models()
    for damage, message in [
        (lambda s: s.pop("linear.bias"), "'linear.bias'"),
        (lambda s: s.update(extra=torch.zeros(1)), "'extra'"),
        (lambda s: s.update({"linear.weight": torch.zeros(8, 6)}), r"\(8, 6\).*\(6, 8\)"),
        (lambda s: s["linear.bias"].fill_(float("nan")), "non-finite"),
    ]:
        bad = {key: {k: v.clone() for k, v in state.items()} for key, state in experts.items()}
        damage(bad["cars"])
        with pytest.raises(FusionBenchError, match=message):
            MERGING[name].merge(base, bad)


@every
def test_run_builds_a_model_and_leaves_the_pool_alone(name, make_models, make_pool):
    base, experts = make_models()
    pool = make_pool(base, experts)
    before = {n: {k: v.clone() for k, v in state.items()} for n, state in pool.states.items()}
    seen = []
    model = MERGING[name].run(pool, progress=lambda stage, done, total: seen.append((stage, done, total)))
    expected = MERGING[name].merge(base, experts)
    for key, tensor in expected.items():
        assert torch.equal(model.get_buffer(key.replace(".", "_")), tensor)
    assert all(identical(pool.states[n], before[n]) for n in before)
    assert seen[-1][1] == seen[-1][2]
    assert all(0 <= done <= total for _, done, total in seen)


@pytest.mark.parametrize("name", sorted(n for n, a in ALL.items() if isinstance(a, EnsembleAlgorithm)))
def test_ensembles_hold_the_experts_by_name(name, make_models, make_pool):
    base, experts = make_models()
    ensemble = ALL[name].run(make_pool(base, experts))
    assert ensemble.names == tuple(experts)
    logits = [torch.randn(4, 5, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    assert ensemble.combine(logits).shape == (4, 5)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("density", [0, 0.0, -0.1, 1.5, 20, float("nan"), "a", None, True]),
        ("trim_density", [0.0, 1.01]),
        ("scaling", [float("inf"), float("nan"), "big", None, True]),
        ("t", [-0.01, 1.01, float("nan")]),
        ("seed", [-1, 0.5, "x"]),
        ("between", [["a"], ["a", "b", "c"], "ab", [1, 2]]),
        ("weights", ["a", [1, "b"], [float("nan")], {"a": None}]),
        ("kernels", ["maybe", 3]),
        ("rule", ["loudest", None]),
    ],
)
def test_options_out_of_range_are_refused_and_named(option, values):
    users = [name for name, algorithm in ALL.items() if option in {f.name for f in fields(algorithm)}]
    assert users
    for name in users:
        for value in values:
            with pytest.raises(FusionBenchError, match=option):
                registry.build("algorithm", name, overrides={option: value})
