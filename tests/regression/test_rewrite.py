"""Two processes that rewrite one baseline: both reasons stay."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.regression import from_result, path_of
from fusion_bench.regression import rewrite as module
from fusion_bench.regression.baseline import read, write
from fusion_bench.regression.rewrite import rewrite
from tests.helpers.results import make_result, right


def test_a_reason_accepted_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins while the first has read and not yet written."""
    first = from_result(make_result(), date="2026-11-25")
    write(tmp_path, first)
    reading, done = threading.Event(), threading.Event()

    def slow(path: Path):
        found = read(path)
        if not reading.is_set():
            reading.set()
            done.wait(1.0)  # as long as the second cannot get in, nobody sets it
        return found

    monkeypatch.setattr(module, "read", slow)

    def accept(because: str, value: int) -> None:
        rewrite(tmp_path, dataclasses.replace(first, config={"x": value}), because=because)

    slower = threading.Thread(target=accept, args=("the first reason", 1))
    slower.start()
    assert reading.wait(10)
    quicker = threading.Thread(target=lambda: (accept("the second reason", 2), done.set()))
    quicker.start()
    for thread in (slower, quicker):
        thread.join(20)
    reasons = [entry["because"] for entry in read(path_of(tmp_path, first.case)).accepted]
    assert reasons == ["the first reason", "the second reason"]


HOLDER = """
import sys
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("held", flush=True)
    input()
"""


def test_a_lock_that_another_process_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.2)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FusionBenchError, match="held by another process") as error:
            rewrite(tmp_path, from_result(make_result(), date="2026-11-25"))
        assert str(tmp_path / ".lock") in error.value.message
    finally:
        holder.communicate("\n")
    assert rewrite(tmp_path, from_result(make_result(), date="2026-11-25")) == "new"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionBenchError, match="cannot write baselines below"):
        rewrite(tmp_path / "file" / "baselines", from_result(make_result(), date="2026-11-25"))


def test_trials_that_a_baseline_lacks_are_another_measurement(tmp_path: Path) -> None:
    plain = from_result(make_result(), date="2026-11-25")
    more = from_result(make_result(trials={"clean": {"a": right(400, 0.9)}}), date="2026-11-25")
    assert rewrite(tmp_path, plain) == "new"
    assert rewrite(tmp_path, more) == "rewritten"
    assert rewrite(tmp_path, more) == "as before"
    assert set(read(path_of(tmp_path, plain.case)).trials) == {"clean"}
