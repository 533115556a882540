"""A command that runs in this process, in a working directory of its own, on the toy pool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command said and left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


class Command:
    """``command("algorithm=ties")``: the toy pool, a store that the tests share."""

    def __init__(self, config: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.uri, self._capsys = config, uri, capsys

    def __call__(self, *words: str) -> Outcome:
        return self.plain(
            "modelpool=toy", "taskpool=toy2", *words, "--config-path", str(self.config), "--tracking-uri", self.uri
        )

    def plain(self, *words: str) -> Outcome:
        """Exactly these words."""
        self._capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as end:  # argparse ends so
            status = int(end.code or 0)
        captured = self._capsys.readouterr()
        return Outcome(status, captured.out, captured.err)


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('cli_store')}/mlflow.db"


@pytest.fixture
def command(
    toy_config: Path,
    store_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(toy_config, store_uri, capsys)
