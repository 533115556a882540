"""``python -m fusion_bench.report.published``: print `docs/published.md`."""

import sys

from fusion_bench.report.published import tables
from fusion_bench.report.published.document import document

if __name__ == "__main__":
    sys.stdout.write(document(tables()))
