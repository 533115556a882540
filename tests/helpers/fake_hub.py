"""A hub in a thread: what huggingface_hub asks for, over files in memory, and everything that goes wrong."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

PAGE = b"<!DOCTYPE html><html><title>Log in to the guest network</title></html>"
_LARGE = (".safetensors", ".bin", ".pt", ".parquet")
_API = re.compile(r"/api/(models|datasets)/(.+?)(?:/(revision|tree)/([^/?]+))?$")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


@dataclass
class Repository:
    """Files at one commit, which its branch ``main`` and other names mean."""

    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    names: tuple[str, ...] = ("main",)

    @property
    def commit(self) -> str:
        content = b"".join(name.encode() + data for name, data in sorted(self.files.items()))
        return hashlib.sha1(content).hexdigest()

    def entry(self, name: str) -> dict[str, Any]:
        """What the interface says of a file."""
        data = self.files[name]
        found: dict[str, Any] = {"size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if name.endswith(_LARGE):
            found["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
        return found


class FakeHub:
    """What the server serves, and how it misbehaves.

    Attributes:
        models, datasets: repositories by id.
        proxy: ``all`` or ``files``: who answers is a proxy's log-in page.
        cut: after so many bytes the connection of a large file is closed; as often as ``cuts`` says.
        altered: large files come with other bytes than the hub states.
        ranges: whether parts of files are given.
        status: answered to everything, if not None.
        seen: what was asked for: method, path and range.
        sent: bytes of large files that went out.
    """

    def __init__(self) -> None:
        self.models: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.proxy: str | None = None
        self.cut: int | None = None
        self.cuts = 0
        self.altered = False
        self.ranges = True
        self.status: int | None = None
        self.seen: list[tuple[str, str, str | None]] = []
        self.sent = 0
        self.url = ""

    def blobs(self) -> dict[str, bytes]:
        """The content of large files by their sums."""
        repositories = [*self.models.values(), *self.datasets.values()]
        return {sha256(data): data for one in repositories for data in one.files.values()}


def sha256(data: bytes) -> str:
    """The sum of some bytes."""
    return hashlib.sha256(data).hexdigest()


def safetensors(tensors: dict[str, tuple[int, ...]], *, fill: int = 0) -> bytes:
    """A file of ``F32`` tensors, every byte of them the same."""
    table, end = {}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(table).encode()
    return len(head).to_bytes(8, "little") + head + bytes([fill]) * end


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub at ``hub.url`` for as long as this lasts."""

    class Handler(_Handler):
        fake = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(hub_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and those that it starts, know no other hub and no other cache."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "FUSION_BENCH_MODELS"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # huggingface_hub looks at its environment when it is imported, which in a session of tests is long ago
    known = {"ENDPOINT": hub_url, "HF_HUB_OFFLINE": False, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub")}
    known["HUGGINGFACE_CO_URL_TEMPLATE"] = hub_url + "/{repo_id}/resolve/{revision}/{filename}"
    known |= {"HF_TOKEN_PATH": str(home / "token"), "HF_STORED_TOKENS_PATH": str(home / "stored_tokens")}
    for name, constant in known.items():
        monkeypatch.setattr(constants, name, constant, raising=False)  # older versions lack some


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.fake.seen.append((self.command, path, self.headers.get("Range")))
        if self.fake.status is not None:
            self._send(self.fake.status, b"{}", body=body)
        elif self.fake.proxy == "all" or (self.fake.proxy == "files" and path.startswith("/cdn/")):
            self._send(200, PAGE, {"Content-Type": "text/html"}, body=body)
        elif path.startswith("/cdn/"):
            self._large(path.removeprefix("/cdn/"), body=body)
        elif api := _API.fullmatch(path):
            self._api(*api.groups(), body=body)  # type: ignore[arg-type]
        elif file := _FILE.fullmatch(path):
            self._resolve(*file.groups(), body=body)  # type: ignore[arg-type]
        else:
            self._send(404, b"{}", body=body)

    def _repository(self, kind: str, name: str, revision: str | None, *, body: bool) -> Repository | None:
        one = getattr(self.fake, kind).get(name)
        if one is None:
            self._send(401, b'{"error": "Invalid username or password."}', {"X-Error-Code": "RepoNotFound"}, body=body)
        elif revision is not None and revision not in (*one.names, one.commit):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        else:
            return one  # type: ignore[no-any-return]
        return None

    def _api(self, kind: str, name: str, what: str | None, revision: str | None, *, body: bool) -> None:
        one = self._repository(kind, name, revision, body=body)
        if one is None:
            return
        if what == "tree":
            listed: Any = [{"type": "file", "path": file, **one.entry(file)} for file in sorted(one.files)]
        else:
            listed = {"id": name, "sha": one.commit, "gated": "manual" if one.gated else False, "private": False}
            listed |= {"cardData": one.card, "tags": [], "downloads": 0, "likes": 0, "siblings": []}
            for file in sorted(one.files):
                entry = one.entry(file)
                large = {"lfs": {**entry["lfs"], "sha256": entry["lfs"]["oid"]}} if "lfs" in entry else {}
                listed["siblings"].append({"rfilename": file, "size": entry["size"], "blobId": entry["oid"], **large})
        self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"}, body=body)

    def _resolve(self, kind: str | None, name: str, revision: str, file: str, *, body: bool) -> None:
        one = self._repository("datasets" if kind else "models", name, revision, body=body)
        if one is None:
            return
        if one.gated and "Authorization" not in self.headers:
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        elif file not in one.files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": one.commit}, body=body)
        elif "lfs" in (entry := one.entry(file)):
            digest = entry["lfs"]["oid"]
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(entry["size"])}
            elsewhere = self.fake.url.replace("127.0.0.1", "localhost")  # large files come from another host
            where = {"Location": f"{elsewhere}/cdn/{digest}", "X-Repo-Commit": one.commit}
            self._send(302, b"", {**where, **linked}, body=body)
        else:
            known = {"ETag": f'"{entry["oid"]}"', "X-Repo-Commit": one.commit}
            self._send(200, one.files[file], known, body=body)

    def _large(self, digest: str, *, body: bool) -> None:
        data = self.fake.blobs()[digest]
        if self.fake.altered:
            data = bytes(255 - byte for byte in data)
        status, known = 200, {"ETag": f'"{digest}"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked and self.fake.ranges:
            start, stop = int(asked[1]), min(len(data), int(asked[2] or len(data)) + 1)
            known["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            status, data = 206, data[start:stop]
        cut = None
        if self.fake.cut is not None and self.fake.cuts > 0 and body:
            self.fake.cuts -= 1
            cut = self.fake.cut
        self.fake.sent += len(data[:cut]) if body else 0
        self._send(status, data, known, body=body, cut=cut)

    def _send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        body: bool,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True
