"""Files that are whole or not there, whoever else writes them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from fusion_bench.cli import output
from fusion_bench.files import replacing, write_whole
from fusion_bench.regression import from_result
from fusion_bench.regression.baseline import path_of, write
from fusion_bench.report.page.write import _publish
from tests.helpers.results import make_result

SIZE, TIMES = 300_000, 40


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for content in ("first: ü\n", b"second\r\n"):
        write_whole(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert list(path.parent.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_there_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_the_longest_names_have_room_for_a_temporary_one(name, tmp_path):
    write_whole(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def _write_often(path: Path, letter: str) -> None:
    for _ in range(TIMES):
        write_whole(path, letter * SIZE)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_of_several_that_write_at_once_one_is_there_whole(kind, tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "a" * SIZE)
    start = multiprocessing.get_context("spawn").Process if kind == "processes" else threading.Thread
    writers = [start(target=_write_often, args=(path, letter)) for letter in "bc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = path.read_text()
        assert len(found) == SIZE
        assert len(set(found)) == 1
    for writer in writers:
        writer.join()
        assert getattr(writer, "exitcode", 0) == 0
    assert path.read_text() in ("b" * SIZE, "c" * SIZE)
    assert list(tmp_path.iterdir()) == [path]


BASELINE = from_result(make_result(), date="2026-11-25")
WRITERS = {
    "report": lambda folder: output.save({"a": 1}, folder / "r.json"),
    "page": lambda folder: _publish(b"page", folder / "r.html"),
    "baseline": lambda folder: write(folder, BASELINE),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_the_house_writes_is_on_disk_before_it_has_its_name(name, tmp_path, monkeypatch):
    done, sync, rename = [], os.fsync, os.replace

    def synced(descriptor):
        done.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def renamed(source, target):
        assert Path(source).stat().st_ino in done
        done.append(Path(target).name)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    WRITERS[name](tmp_path)
    expected = {"report": "r.json", "page": "r.html", "baseline": path_of(tmp_path, BASELINE.case).name}[name]
    assert done[-1] == expected
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [expected]
