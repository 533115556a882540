"""Marks by kind and by need, for ``-m``: ``-m merging``, ``-m "not gpu"``."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

KINDS = {
    "reference": "bounds that methods are compared with: the base, the experts, a multi-task model",
    "merging": "algorithms whose result is one model with the experts' architecture",
    "ensemble": "algorithms that combine the outputs of several models",
    "mixing": "algorithms whose result is a new architecture made of the experts",
}
NEEDS = {
    "gpu": "needs a CUDA device",
    "network": "fetches from the Hugging Face hub",
    "large": "downloads or holds gigabytes",
    "lm": "needs lm-evaluation-harness (the extra lm)",
    "multitask": "needs a pool with a multi-task model",
}


def register(config: pytest.Config) -> None:
    """Make the marks of this file known."""
    for name, meaning in {**KINDS, **NEEDS}.items():
        config.addinivalue_line("markers", f"{name}: fusion_bench: {meaning}")


def register_needs(config: pytest.Config, needs: Iterable[str]) -> None:
    """Make needs known that only YAML files name."""
    for name in sorted(set(needs) - set(NEEDS) - set(KINDS)):
        config.addinivalue_line("markers", f"{name}: fusion_bench: a need named by a YAML file")
