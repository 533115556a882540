"""What a bisection needs, written where git's checkouts leave it: baselines, and a script that checks a commit."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.regression.baseline import path_of, read
from fusion_bench.regression.settings import FILE

#: Ignored by git, so that every commit is held against the same baselines.
FOLDER = Path("outputs") / "bisect"

_SCRIPT = """\
#!/bin/sh
# 0: as good as the baseline; 1: not; 125: this commit cannot say (git bisect leaves it out)
cd "$(dirname "$0")/../.." || exit 125
python -c "import fusion_bench.cli.baseline" || exit 125
exec python -m fusion_bench baseline check --ignore-costs --baselines {folder} {options} {case}
"""


def bisection(
    failing: Sequence[Mapping[str, Any]], folder: Path, root: Path, *, options: Sequence[str] = ()
) -> list[str]:
    """The line that finds the commit of a failure, with what it runs written below ``root``; none where none can.

    The good commit is checked before anything: where it fails, too, a dependency or the machine is to blame and no
    commit, and the line ends there.

    Args:
        failing: results, the one to bisect first.
        folder: of the baselines.
        options: of the session, that the check needs as well (``--plugin`` and the like).
    """
    if not failing:
        return []
    first = failing[0]
    good, bad = _commit(folder, first), str(first.get("tags", {}).get("commit", ""))
    if not good or not bad:
        return []
    if good.rstrip("+") == bad.rstrip("+"):
        return ["no bisection: the baseline was made at this very commit"]
    case = str(first["case"]["id"])
    try:
        kept = path_of(root / FOLDER, first["case"])
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path_of(folder, first["case"]), kept)
        if (folder / FILE).is_file():
            shutil.copy(folder / FILE, root / FOLDER / FILE)
        words = " ".join(map(shlex.quote, options))
        text = _SCRIPT.format(folder=FOLDER.as_posix(), options=words, case=shlex.quote(case))
        (root / FOLDER / "check.sh").write_text(text, encoding="utf-8")
    except OSError as error:
        return [f"no bisection: cannot write below {root / FOLDER}: {error.strerror}"]
    old, new = (commit[:12].rstrip("+") for commit in (good, bad))
    check = f"sh {(FOLDER / 'check.sh').as_posix()}"
    line = f"bisect: git checkout -q {old} && {check} && git bisect start {new} {old} && git bisect run {check}"
    line += "; git bisect reset"
    if bad.endswith("+"):
        return ["before a bisection: commit or stash your changes, and see whether the case still fails", line]
    return [line]


def for_command(words: Sequence[str]) -> list[str]:
    """Options of pytest as the command spells them.

    Example:
        >>> for_command(["--fb-config-path", "conf", "--plugin", "mine.py"])
        ['--config-path', 'conf', '--plugin', 'mine.py']
    """
    return ["--config-path" if word == "--fb-config-path" else word for word in words]


def _commit(folder: Path, result: Mapping[str, Any]) -> str:
    try:
        return read(path_of(folder, result["case"])).commit
    except FusionBenchError:
        return ""
