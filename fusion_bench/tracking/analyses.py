"""Analyses of pools read back from a store: the documents that their runs keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fusion_bench.tracking.location import StoreLocation
from fusion_bench.tracking.rows import read_rows

KIND = "analysis"
DOCUMENT = "analysis.json"


def read_analyses(
    location: StoreLocation, *, experiments: Sequence[str] | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The content of ``analysis.json`` of every finished analysis, newest first; and by run id why there is none.

    Args:
        experiments: names of the pools' experiments, ``<modelpool>/<taskpool>``; all where None.

    Raises:
        FusionBenchError: no such store.
    """
    found, notes = [], {}
    for row in read_rows(location):
        pools = row.experiment.removesuffix(f" {KIND}")
        if row.tags.get("kind") != KIND or (experiments is not None and pools not in experiments):
            continue
        where = f"run {row.run_id} ({row.name})"
        if row.status != "FINISHED":
            notes[row.run_id] = f"{where}: {row.status}"
            continue
        try:
            found.append(json.loads(_fetch(location, row.run_id, row.artifacts).read_text(encoding="utf-8")))
        except FileNotFoundError:
            notes[row.run_id] = f"{where}: its {DOCUMENT} is missing"
        except Exception as error:  # a server that lost the file answers in its own way
            notes[row.run_id] = f"{where}: its {DOCUMENT} cannot be read: {' '.join(str(error).split())[:200]}"
    return found, notes


def _fetch(location: StoreLocation, run_id: str, uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path)) / DOCUMENT
    if parts.scheme == "":
        return Path(uri) / DOCUMENT
    from fusion_bench.tracking.store import Store

    return Path(Store(location).client.download_artifacts(run_id, DOCUMENT))
