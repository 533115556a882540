"""The command ``fusion_bench``."""

from fusion_bench.cli.main import main

__all__ = ["main"]
