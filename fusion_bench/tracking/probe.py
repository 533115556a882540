"""Whether a store can be used at all: found out now rather than after an hour of fusing."""

from __future__ import annotations

import os
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking.location import StoreLocation

SECONDS = 5
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_OTHER = "name another store with --tracking-uri sqlite:///other.db"


def probe(location: StoreLocation) -> None:
    """Refuse a store that does not answer or whose folder cannot be written.

    Raises:
        FusionBenchError: with what stands in the way.
    """
    if location.uri.startswith("http"):
        _server(location.uri)
    elif location.database is not None:
        _folder(location.database.parent)
    else:
        _socket(location.uri)


def probe_database(database: Path) -> None:
    """Refuse a SQLite file that another program holds, or that is none; a missing one is fine."""
    if not database.exists():
        return
    try:
        connection = sqlite3.connect(database, timeout=SECONDS)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise FusionBenchError(
            f"cannot write to {database}: {error}",
            hint="another program holds it, or it is no SQLite file; close that, or use --tracking-uri sqlite:///other.db",
        ) from error


def _server(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise FusionBenchError(
                f"the tracking server {uri} answers {error.code} {error.reason}",
                hint="look at its log, or unset MLFLOW_TRACKING_URI to use the database in mlruns/",
            ) from error
        # it answers; a server without /health is still a server
    except (OSError, ValueError) as error:
        raise FusionBenchError(
            f"the tracking server {uri} does not answer: {getattr(error, 'reason', error)}",
            hint="start it, or unset MLFLOW_TRACKING_URI to use the database in mlruns/",
        ) from error


def _socket(uri: str) -> None:
    """A database server: MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname is None or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=SECONDS).close()
    except OSError as error:
        raise FusionBenchError(
            f"the database server {parts.hostname}:{port} does not answer: {error.strerror or error}",
            hint=f"start it, or {_OTHER}",
        ) from error


def _folder(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise FusionBenchError(
            f"{there} is a file, the tracking store needs a folder there", hint=f"move it away, or {_OTHER}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe_file = folder / f".probe-{os.getpid()}"
        probe_file.touch()
        probe_file.unlink()
    except OSError as error:
        raise FusionBenchError(
            f"cannot write to {folder}: {error.strerror}", hint=f"check its permissions, or {_OTHER}"
        ) from error
