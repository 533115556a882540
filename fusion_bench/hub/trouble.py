"""Every way in which the hub's clients fail, as one error that names what was meant and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.hub.source import Source


@contextlib.contextmanager
def explained(source: Source, *, pool: str | None = None, known: Iterable[str] = ()) -> Iterator[None]:
    """Work with the hub whose errors are told as `FusionBenchError`; one that is that already goes through.

    Args:
        source: what is asked for.
        pool: that names it, with the role that it has there.
        known: other ids, among which the nearest to a wrong one is looked for.
    """
    try:
        yield
    except FusionBenchError:
        raise
    except Exception as error:
        raise as_error(error, source, pool=pool, known=known) from error


def as_error(
    error: Exception, source: Source, *, pool: str | None = None, known: Iterable[str] = ()
) -> FusionBenchError:
    """What an exception of huggingface_hub, datasets, requests, httpx or the system means.

    Example:
        >>> print(as_error(OSError(28, "No space left on device"), Source("a/b", "v1"), pool="mine: base"))
        mine: base: a/b@v1: the disk is full
          hint: free some room, or set HF_HOME to a folder with more, and fetch again: what is whole is kept
    """
    if isinstance(error, FusionBenchError):
        return error
    seen = _Seen(_chain(error), source, tuple(known))
    for rule in _RULES:
        found = rule(seen)
        if found is not None:
            what, hint = found
            return FusionBenchError(f"{said(source, pool)}: {what}", hint=hint)
    text = (str(error).strip().splitlines() or [""])[0]
    return FusionBenchError(f"{said(source, pool)}: {type(error).__name__}{f': {text}' if text else ''}")


def said(source: Source, pool: str | None) -> str:
    """How messages begin."""
    return f"{pool}: {source.label}" if pool else source.label


def endpoint() -> str:
    """The hub, or the mirror that ``HF_ENDPOINT`` names."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def page(source: Source) -> str:
    """Where a person reads about a repository."""
    return f"{endpoint()}/{'datasets/' if source.kind == 'dataset' else ''}{source.id}"


@dataclass(frozen=True)
class _Seen:
    """An error with those that it came of."""

    errors: Sequence[BaseException]
    source: Source
    known: tuple[str, ...]

    def any(self, *names: str) -> bool:
        """Whether one of the errors is of a class called so, or derived from one: their modules differ by version."""
        return any(cls.__name__ in names for error in self.errors for cls in type(error).__mro__)

    @property
    def statuses(self) -> set[int]:
        """HTTP statuses that were answered."""
        found: list[Any] = [getattr(getattr(error, "response", None), "status_code", None) for error in self.errors]
        return {status for status in found if isinstance(status, int)}

    @property
    def text(self) -> str:
        """What all of them say."""
        return "\n".join(map(str, self.errors))


_Answer = tuple[str, str] | None


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found


def _disk(seen: _Seen) -> _Answer:
    full = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    if any(isinstance(error, OSError) and error.errno in full for error in seen.errors):
        return "the disk is full", (
            "free some room, or set HF_HOME to a folder with more, and fetch again: what is whole is kept"
        )
    if any(isinstance(error, PermissionError) for error in seen.errors):
        return "the cache cannot be written", "set HF_HOME to a folder of yours"
    return None


def _gated(seen: _Seen) -> _Answer:
    if seen.any("DisabledRepoError"):
        return "the hub has disabled this repository", "choose another; its page says why: " + page(seen.source)
    if not seen.any("GatedRepoError"):
        return None
    where = page(seen.source)
    if 401 in seen.statuses:
        return "it is gated, and no token was given", f"accept the licence at {where}, then: hf auth login"
    return "it is gated, and this account has no access to it", f"accept the licence at {where}, or wait for the answer"


def _revision(seen: _Seen) -> _Answer:
    if not seen.any("RevisionNotFoundError"):
        return None
    return f"it has no revision {seen.source.revision or 'main'} (any more)", (
        f"choose one of {page(seen.source)}/commits, in the pool's YAML; a pin is renewed by: "
        "fusion_bench pools check NAME --pin"
    )


def _repository(seen: _Seen) -> _Answer:
    if "Invalid credentials" in seen.text:
        return "the hub refuses the token that was sent", "it is wrong or out of date: hf auth login"
    # `datasets` raises an error of its own for what the hub does not have
    if not seen.any("RepositoryNotFoundError", "DatasetNotFoundError"):
        return None
    near = nearest(seen.source.id, (name for name in seen.known if name != seen.source.id))
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"there is no such {seen.source.kind}, or it is private", (
        f"{meant}Look at {page(seen.source)}; for a private one: hf auth login"
    )


def _entry(seen: _Seen) -> _Answer:
    if seen.any("RemoteEntryNotFoundError") or (seen.any("EntryNotFoundError") and 404 in seen.statuses):
        return "a file of it is not there (any more)", f"see what it has at {page(seen.source)}/tree/main"
    return None


def _malformed(seen: _Seen) -> _Answer:
    if seen.any("HFValidationError"):
        return "this is no id of the hub", "write owner/name"
    return None


def _code(seen: _Seen) -> _Answer:
    if "trust_remote_code" in seen.text or "Dataset scripts are no longer supported" in seen.text:
        return "it comes with code of its own, which is never run here", (
            "take a copy in plain files; of a data set the hub often has one in Parquet: revision: refs/convert/parquet"
        )
    return None


def _data(seen: _Seen) -> _Answer:
    if seen.any("DataFilesNotFoundError"):
        return "it has no data files that can be read", "see what it has at " + page(seen.source)
    if seen.any("NonMatchingSplitsSizesError", "NonMatchingChecksumError", "ExpectedMoreSplitsError"):
        return "its data are others than it states", "it changed: name an earlier commit as revision"
    if seen.any("CastError", "DatasetGenerationCastError"):
        return "its columns are others than it states", "it changed: name an earlier commit as revision"
    return None


def _half(seen: _Seen) -> _Answer:
    cut = seen.any(
        "RemoteProtocolError", "ChunkedEncodingError", "IncompleteRead", "ProtocolError", "ContentTooShortError"
    )
    if cut or "Consistency check failed" in seen.text:
        return "a file came only in part", "fetch again: it goes on where it stopped"
    return None


def _offline(seen: _Seen) -> _Answer:
    if seen.any("OfflineModeIsEnabled", "OfflineModeIsEnabledError"):
        return "it is not here, and HF_HUB_OFFLINE forbids to ask the hub", (
            "unset HF_HUB_OFFLINE, or name a folder that has it: FUSION_BENCH_MODELS"
        )
    return None


def _page(seen: _Seen) -> _Answer:
    if seen.any("JSONDecodeError", "FileMetadataError") or "Expecting value" in seen.text:
        return f"what answers at {endpoint()} is not the hub", (
            "a proxy or a log-in page stands between: open that address in a browser; a mirror is named by HF_ENDPOINT"
        )
    return None


def _network(seen: _Seen) -> _Answer:
    if seen.any("ProxyError"):
        return "the proxy refuses", "look at HTTPS_PROXY and NO_PROXY"
    if seen.any("SSLError") or "CERTIFICATE_VERIFY_FAILED" in seen.text:
        return f"{endpoint()} shows a certificate that is not trusted", (
            "a proxy may stand between: name its certificates in SSL_CERT_FILE"
        )
    if seen.any("Timeout", "TimeoutException", "TimeoutError"):
        return f"{endpoint()} takes too long to answer", "try again later; HF_HUB_DOWNLOAD_TIMEOUT sets the seconds"
    if seen.any("ConnectError", "ConnectionError", "NetworkError", "gaierror", "NewConnectionError"):
        return f"{endpoint()} cannot be reached", (
            "fetch it on a machine with network and copy the cache, or name a mirror: HF_ENDPOINT"
        )
    return None


def _status(seen: _Seen) -> _Answer:
    for status in sorted(seen.statuses):
        if status == 429:
            return "the hub asks for fewer requests", "try again in some minutes; more are allowed after: hf auth login"
        if status in (401, 403):
            return f"the hub refuses access ({status})", "hf auth login, with a token that may read it"
        if status >= 400:
            return f"the hub answers with the status {status}", "try again later"
    return None


def _here(seen: _Seen) -> _Answer:
    if seen.any("LocalEntryNotFoundError", "IncompleteSnapshotError"):
        return "it is not here, or only half of it", "fetch it: fusion_bench pools fetch NAME"
    return None


_RULES: tuple[Callable[[_Seen], _Answer], ...] = (
    _disk, _code, _gated, _revision, _repository, _entry, _malformed, _data, _offline, _half, _page, _network, _status,
    _here,
)  # fmt: skip
