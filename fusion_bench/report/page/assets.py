"""The page's own files: styles, scripts, templates. Read at each call; nothing is kept."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

#: In this order: later ones use what earlier ones define.
STYLES = ("tokens", "page", "tables")
SCRIPTS = (
    "dom",
    "law",
    "signflip",
    "pairs",
    "seeds",
    "table",
    "charts",
    "examples",
    "compare",
    "tradeoff",
    "radar",
    "panels",
    "history",
    "heat",
    "main",
)


def styles() -> str:
    """All style sheets, one after the other."""
    return "\n".join(_read("css", f"{name}.css") for name in STYLES)


def scripts() -> str:
    """All scripts in one scope of their own, so that they define nothing but ``window.fusionBench``."""
    return "\n".join(["(() => {", '"use strict";', *(_read("js", f"{name}.js") for name in SCRIPTS), "})();"])


def plotly() -> str:
    """Plotly.js, from the Python package."""
    import importlib

    library = str(importlib.import_module("plotly.offline").get_plotlyjs())  # the package has no types
    return library.replace("\r\n", "\n")  # as a browser reads it, or the hash in the policy would be of another text


def environment() -> Any:
    """Jinja with every value escaped."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read("templates", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(folder: str, name: str) -> str:
    return (files("fusion_bench.report.page") / "assets" / folder / name).read_text(encoding="utf-8")
