"""linear_interpolation and slerp: end points, symmetry, closed forms, and which two models."""

import math

import numpy as np
import pytest
import torch

from fusion_bench.algorithms.linear_interpolation import LinearInterpolation, linear_interpolation
from fusion_bench.algorithms.slerp import Slerp, arc, slerp
from fusion_bench.errors import FusionBenchError

both = pytest.mark.parametrize("method", [linear_interpolation, slerp])
FLOATS = ("linear.weight", "tall.weight", "linear.bias", "stem.weight", "depthwise.weight", "token", "scale", "empty")


@both
@pytest.mark.parametrize("between", [("cars", "svhn"), ("svhn", "cars"), ("base", "mnist"), ("mnist", "base")])
def test_ends_are_the_models_in_the_order_named(method, between, make_models):
    base, experts = make_models()
    models = {"base": base, **experts}
    for t, end in zip((0.0, 1.0), between, strict=True):
        merged = method(base, experts, t=t, between=between)
        assert all(torch.equal(merged[n], models[end][n]) for n in FLOATS)
        assert int(merged["steps"]) == 7


@both
def test_swapping_ends_mirrors_the_path(method, make_models):
    base, experts = make_models()
    one = method(base, experts, t=0.25, between=("cars", "svhn"))
    other = method(base, experts, t=0.75, between=("svhn", "cars"))
    for name in FLOATS:
        torch.testing.assert_close(one[name], other[name])


@both
def test_without_names_the_first_two_experts_of_the_given_order_are_taken(method, make_models):
    base, experts = make_models()  # cars, mnist, svhn
    turned = {name: experts[name] for name in ("svhn", "mnist", "cars")}
    expected = method(base, turned, t=0.3, between=("svhn", "mnist"))
    merged = method(base, turned, t=0.3)
    assert all(torch.equal(merged[n], expected[n]) for n in FLOATS)


@pytest.mark.parametrize("kind", [LinearInterpolation, Slerp])
def test_only_the_two_are_read(kind, make_models, make_pool):
    pool = make_pool(*make_models(5))
    kind(between=["base", "svhn"]).run(pool)
    assert set(pool.read) == {"base", "svhn"}
    pool.read.clear()
    kind().run(pool)
    assert set(pool.read) == {"base", "cars", "mnist"}


@both
@pytest.mark.parametrize(
    ("between", "count", "message"),
    [
        (("cars", "mnits"), 3, "did you mean 'mnist'"),
        (("cars", "cars"), 3, "twice"),
        (None, 1, "needs two models, the pool has 1 expert"),
    ],
)
def test_which_two_must_be_clear(method, between, count, message, make_models):
    with pytest.raises(FusionBenchError, match=message):
        method(*make_models(count), between=between)


def test_linear_interpolation_against_numpy(make_models):
    base, experts = make_models()
    merged = linear_interpolation(base, experts, t=0.3, between=("mnist", "svhn"))
    for name in FLOATS:
        a, b = (experts[e][name].double().numpy() for e in ("mnist", "svhn"))
        np.testing.assert_array_equal(merged[name].numpy(), np.float32((1 - 0.3) * a + 0.3 * b))


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("degrees", [0.001, 0.5, 1.0, 30, 90, 150, 179])
def test_arc_turns_at_constant_speed_and_keeps_length(t, degrees):
    omega = math.radians(degrees)
    first = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    second = 2 * torch.tensor([math.cos(omega), math.sin(omega), 0.0], dtype=torch.float64)
    expected = [2 * math.cos(t * omega), 2 * math.sin(t * omega), 0.0]
    np.testing.assert_allclose(arc(first, second, t), expected, atol=1e-9)


def test_arc_against_the_arccosine_formula_with_unequal_lengths():
    g = torch.Generator().manual_seed(0)
    a, b = (s * torch.randn(4, 5, generator=g, dtype=torch.float64) for s in (1.0, 3.0))
    x, y = a.numpy().ravel(), b.numpy().ravel()
    omega = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    expected = (np.sin(0.7 * omega) * x + np.sin(0.3 * omega) * y) / np.sin(omega)
    np.testing.assert_allclose(arc(a, b, 0.3).flatten(), expected, rtol=1e-12)


def test_where_there_is_no_arc_the_path_is_straight():
    a = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for b in (3 * a, -a, torch.zeros_like(a)):
        torch.testing.assert_close(arc(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_near_copies_follow_the_arc_where_others_switch_to_a_line():
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(0.02), math.sin(0.02)], dtype=torch.float64)  # cosine 0.9998
    assert float(arc(a, b, 0.5).norm()) == pytest.approx(1.0, abs=1e-12)
    assert float((0.5 * a + 0.5 * b).norm()) < 1 - 4e-5


@both
def test_t_is_in_zero_to_one(method, make_models):
    with pytest.raises(FusionBenchError, match=r"t = 1\.5"):
        method(*make_models(), t=1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_slerp_as_a_whole_against_numpy(dtype, make_models):
    """Tensor by tensor, angles by the arccosine, in float64; models far enough apart for that to be accurate."""
    base, experts = make_models(step=3.0, dtype=dtype)
    merged = slerp(base, experts, t=0.3, between=("mnist", "svhn"))
    for name in FLOATS:
        a, b = (experts[e][name].double().numpy() for e in ("mnist", "svhn"))
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        cosine = (a * b).sum() / lengths if lengths else 1.0
        if 1 - abs(cosine) < 1e-12:
            expected = 0.7 * a + 0.3 * b
        else:
            omega = np.arccos(cosine)
            expected = (np.sin(0.7 * omega) * a + np.sin(0.3 * omega) * b) / np.sin(omega)
        torch.testing.assert_close(merged[name], torch.from_numpy(np.asarray(expected)).to(dtype))
