"""Completion: what is offered, and that a real bash takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.cli.completion import OPTIONS, complete, script
from fusion_bench.cli.parser import build_parser


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("algorithm=task", ["algorithm=task_arithmetic"]),
        ("algorithm=ties,sler", ["algorithm=ties,slerp"]),
        ("modelpool=clip_m", ["modelpool=clip_mini"]),
        ("algorithm.scal", ["algorithm.scaling="]),
        ("--save", ["--save-models"]),
        ("u", ["ui"]),
        ("mer", ["merge"]),
        ("nothing", []),
    ],
)
def test_words_are_completed(word: str, found: list[str]) -> None:
    assert complete(word) == found


def test_every_option_of_the_parser_is_offered() -> None:
    known = {
        option for action in build_parser()._actions for option in action.option_strings if option.startswith("--")
    }
    assert set(OPTIONS) == known


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "expected"), [("algorithm=task", "task_arithmetic"), ("--plu", "--plugin"), ("taskp", "taskpool=")]
)
def test_bash_completes(tmp_path: Path, typed: str, expected: str) -> None:
    stub = tmp_path / "fusion_bench"
    code = "import sys; from fusion_bench.cli import main; sys.exit(main())"
    stub.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    stub.chmod(0o755)
    (tmp_path / "completion.bash").write_text(script("bash"))
    line = f"fusion_bench {typed}"
    # what readline does: cut the line into words (at "=" too), set the variables, call the function
    code = (
        f"source {tmp_path}/completion.bash; compopt() {{ :; }}\n"
        f"COMP_LINE={line!r}; COMP_POINT={len(line)}; COMP_WORDS=(fusion_bench); COMP_CWORD=1\n"
        '_fusion_bench; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.stdout.split() == [expected], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_are_valid(tmp_path: Path, shell: str) -> None:
    (tmp_path / "script").write_text(script(shell))
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
