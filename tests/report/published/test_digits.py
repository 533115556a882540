from __future__ import annotations

import itertools
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.report.published import Printed, check_average

FRACTIONS = st.lists(st.integers(0, 10**7), min_size=1, max_size=20)  # true values in units of 1e-5 per cent


def cut(value: Decimal, digits: int, how: str) -> Printed:
    return Printed.read(str(value.quantize(Decimal(10) ** -digits, how)))


@given(FRACTIONS, st.integers(1, 4), st.sampled_from([ROUND_DOWN, ROUND_HALF_UP]), st.booleans())
def test_an_average_that_somebody_computed_is_never_wrong(true, digits, how, of_printed):
    values = [Decimal(value) / 10**5 for value in true]
    printed = [cut(value, digits, ROUND_HALF_UP) for value in values]
    parts = [p.value for p in printed] if of_printed else values
    average = check_average(printed, cut(sum(parts) / len(parts), digits, how))
    assert average.verdict in ("rounds", "truncates", "fits")
    if of_printed:
        assert average.verdict == ("rounds" if how == ROUND_HALF_UP else average.verdict)
        assert average.verdict != "fits"
    else:
        assert average.span[0] <= sum(values) / len(values) <= average.span[1]


@pytest.mark.parametrize("stated", [f"{tenths / 10:.1f}" for tenths in range(495, 512)])
@pytest.mark.parametrize("printed", [("50.0", "50.5"), ("50.1", "50.2"), ("50.3", "50.3")])
def test_disagreement_is_what_no_hidden_digits_can_explain(printed, stated):
    # every value that rounds to what is printed; whether a half goes up or down is nowhere said
    grid = [[Decimal(text) + Decimal(step) / 100 for step in range(-5, 6)] for text in printed]
    means = [(a + b) / 2 for a, b in itertools.product(*grid)]
    rules = (ROUND_DOWN, ROUND_HALF_UP, ROUND_HALF_DOWN)
    possible = any(mean.quantize(Decimal("0.1"), how) == Decimal(stated) for mean in means for how in rules)
    verdict = check_average([Printed.read(text) for text in printed], Printed.read(stated)).verdict
    assert (verdict != "disagrees") == possible


@pytest.mark.parametrize(
    ("values", "stated", "verdict", "difference"),
    [
        ("75.0 78.3 95.2 99.0 97.3 98.9 99.6 79.7", "90.3", "truncates", "0.075"),
        ("67.1 64.2 74.1 76.8 77.7 69.4 94.1 54.0", "72.2", "rounds", "-0.025"),
        ("69.7 59.7 78.9 90.1 83.8 90.5 91.2 72.0", "78.2", "disagrees", "1.2875"),
        ("68.3 65.5 76.9 54.9 75.4 72.0", "68.9", "fits", "-0.0667"),
    ],
)
def test_verdicts(values, stated, verdict, difference):
    average = check_average([Printed.read(text) for text in values.split()], Printed.read(stated))
    assert average.verdict == verdict
    assert float(average.difference) == pytest.approx(float(difference), abs=1e-4)


def test_what_cannot_be_checked_is_not_judged():
    one = Printed.read("50.0")
    assert check_average([one, None], one).verdict == "unchecked"
    assert check_average([one, one], None).verdict == "unstated"
    assert check_average([], one).span == one.printed


def test_digits_of_a_float32_beyond_its_precision_do_not_count():
    printed = Printed.read("0.9904999732971191", scale=100)  # 0.9905 in single precision
    assert printed.printed[0] <= Decimal("99.05") <= printed.printed[1]
    assert printed.decimals == 5


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e1", "12,5", "1_0", "90.3%", "½"])
def test_only_plain_decimals_are_numbers(text):
    with pytest.raises(ValueError, match="is no"):
        Printed.read(text)
