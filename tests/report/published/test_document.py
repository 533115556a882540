from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fusion_bench.report.published import findings
from fusion_bench.report.published.document import document
from tests.report.published.conftest import table_content
from tests.test_imports import HEAVY

PAGE = Path(__file__).parents[3] / "docs" / "published.md"


def test_the_page_is_what_the_command_prints(shipped):
    command = [sys.executable, "-m", "fusion_bench.report.published"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert done.stdout.decode() == PAGE.read_text(encoding="utf-8") == document(shipped.values())


def test_every_table_and_finding_is_on_the_page(shipped):
    page = document(shipped.values())
    for name in shipped:
        assert f"| {name} |" in page
    for finding in findings(shipped.values()):
        assert finding.message.replace("$", "") in page


def test_text_of_others_cannot_break_a_table(read):
    content = table_content(title="A | B $x$")
    page = document(read(one=content))
    assert "A \\| B x" in page
    assert page.count("None.") == 4  # no finding of any kind
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_reading_tables_imports_nothing_heavy():
    code = "from fusion_bench.report.published import findings, tables\nfindings(tables())"
    code += f"\nimport sys\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
