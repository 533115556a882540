"""A file of compiled loops changes whenever a file does that its loops are compiled together with."""

import hashlib
import importlib
from pathlib import Path

import pytest

from fusion_bench.weights import compiled

FOLDER = Path(compiled.__file__).parent
SHARED = ("loops.py", "philox.py", "terms.py")


@pytest.mark.parametrize("name", ["elections", "rounding", "sums", "surveys"])
def test_the_cache_on_disk_cannot_be_out_of_date(name):
    module = importlib.import_module(f"fusion_bench.weights.compiled.{name}")
    now = hashlib.sha256(b"".join((FOLDER / file).read_bytes() for file in SHARED)).hexdigest()[:16]
    assert now == module.BUILT_ON, f"{' or '.join(SHARED)} has changed: set BUILT_ON = {now!r} in {name}.py"
