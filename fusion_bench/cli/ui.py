"""``fusion_bench ui``: MLflow's pages, on the store of this project."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Serve until interrupted; returns the exit status."""
    from fusion_bench.tracking import locate_store
    from fusion_bench.tracking.ui import serve

    parser = argparse.ArgumentParser(
        prog="fusion_bench ui", description="Open MLflow's UI on the store of this project."
    )
    parser.add_argument("--tracking-uri", metavar="URI")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args(list(arguments))
    return serve(locate_store(options.tracking_uri), host=options.host, port=options.port)
