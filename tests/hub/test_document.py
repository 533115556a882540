"""docs/pools.md is what its generator prints."""

from __future__ import annotations

from pathlib import Path

from fusion_bench import registry
from fusion_bench.hub.document import document

PAGE = Path(__file__).parents[2] / "docs" / "pools.md"


def test_the_page_is_up_to_date() -> None:
    hint = "python -m fusion_bench.hub.document > docs/pools.md"
    assert PAGE.read_text(encoding="utf-8") == document(), hint


def test_every_pool_has_a_row() -> None:
    page = document()
    for group in ("modelpool", "taskpool"):
        for name in registry.names(group):
            assert f"\n| `{name}` |" in page
