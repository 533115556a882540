"""Numbers that others published: read as data, checked against themselves, shown beside results of ours."""

from fusion_bench.report.published.checks import Finding, findings
from fusion_bench.report.published.comparison import Beside, beside, published_lines
from fusion_bench.report.published.digits import Average, Printed, check_average
from fusion_bench.report.published.reading import tables
from fusion_bench.report.published.table import Row, Source, Table

__all__ = [
    "Average",
    "Beside",
    "Finding",
    "Printed",
    "Row",
    "Source",
    "Table",
    "beside",
    "check_average",
    "findings",
    "published_lines",
    "tables",
]
