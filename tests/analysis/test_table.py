from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.analysis.table import Table
from fusion_bench.errors import FusionBenchError


def table(**more) -> Table:
    fields = {"title": "t", "measure": "m", "rows": ("a", "b"), "columns": ("x",), "values": ((1.0,), (2.0,))}
    return Table(**{**fields, **more})


@given(st.floats(-1e300, 1e300))
def test_json_keeps_six_digits(value: float) -> None:
    sent = table(values=((value,), (0.0,)), centre=0.5, note="ΔΔ < 1")
    found = Table.from_dict(json.loads(json.dumps(sent.to_dict())))
    assert found.values[0][0] == pytest.approx(value, rel=5e-6)
    assert (found.rows, found.columns, found.centre, found.note) == (sent.rows, sent.columns, 0.5, "ΔΔ < 1")
    assert Table.from_dict(found.to_dict()) == found  # rounded once, and no further


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": ((1.0,),)}, "2 × 1 labels for 1 rows"),
        ({"values": ((1.0,), (1.0, 2.0))}, r"2 rows of \[1, 2\] values"),
        ({"values": ((1.0,), (float("nan"),))}, "1 values are not finite"),
        ({"values": ((float("inf"),), (float("nan"),))}, "2 values are not finite"),
        ({"view": "pie"}, "no view 'pie'"),
    ],
)
def test_a_table_is_whole_or_refused(change: dict, words: str) -> None:
    with pytest.raises(FusionBenchError, match=words):
        table(**change)


@pytest.mark.parametrize("change", [{"rows": None}, {"values": [["x"]]}, {"colour": "red"}, {"values": 3}])
def test_another_document_is_refused(change: dict) -> None:
    with pytest.raises(FusionBenchError):
        Table.from_dict({**table().to_dict(), **change})
    with pytest.raises(FusionBenchError, match="'rows'"):
        Table.from_dict({})
