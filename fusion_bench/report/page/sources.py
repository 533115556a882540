"""What the browser needs to count examples by the source they share, as `metrics.variance` does."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_bench.metrics.outcomes import groupings
from fusion_bench.metrics.variance import Layout


def sources(clusters: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Per task with shared sources: ``codes`` (the source of each example, uint16 or uint32, little endian, base64),
    ``width`` (bytes a code), ``sizes``, and the constants ``correction``, ``expected``, ``quadratic`` of
    `metrics.variance.Layout`, which depend on the sizes alone.

    Example:
        >>> found = sources({"t": np.array(["a", "a", "b"])}, {"t": 3})
        >>> found["t"]["sizes"], found["t"]["width"], base64.b64decode(found["t"]["codes"])
        ([2, 1], 2, b'\\x00\\x00\\x00\\x00\\x01\\x00')
    """
    found = {}
    for task, grouping in groupings(clusters, sizes).items():
        if grouping is None:
            continue
        layout = Layout.of(grouping.sizes)
        width = 2 if len(grouping.sizes) <= 1 << 16 else 4
        found[task] = {
            "width": width,
            "codes": base64.b64encode(grouping.codes.astype(f"<u{width}").tobytes()).decode("ascii"),
            "sizes": grouping.sizes.tolist(),
            "correction": layout.correction.tolist(),
            "expected": layout.expected.tolist(),
            "quadratic": layout.quadratic.tolist(),
        }
    return found
