"""Errors of the libraries, those that no server can be made to cause among them."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import pytest

from fusion_bench.hub import Source
from fusion_bench.hub.trouble import as_error

DATA = Source("you/data", "v1", kind="dataset")


def named(name: str, base: type[Exception] = Exception) -> type[Exception]:
    """An error class of a library that this version of may call it otherwise."""
    return type(name, (base,), {})


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "the cache cannot be written"),
        (caused(RuntimeError("x"), OSError(28, "No space left")), "the disk is full"),
        (
            named("OfflineModeIsEnabled", ConnectionError)("x"),
            "it is not here, and HF_HUB_OFFLINE forbids to ask the hub",
        ),
        (named("DatasetNotFoundError")("x"), "there is no such dataset, or it is private"),
        (named("DataFilesNotFoundError")("x"), "it has no data files that can be read"),
        (named("CastError", ValueError)("x"), "its columns are others than it states"),
        (named("NonMatchingSplitsSizesError", ValueError)("x"), "its data are others than it states"),
        (ValueError("x requires trust_remote_code=True"), "it comes with code of its own, which is never run here"),
        (RuntimeError("Dataset scripts are no longer supported, but found x"), "it comes with code of its own"),
        (named("ProxyError", OSError)("x"), "the proxy refuses"),
        (ssl.SSLError("CERTIFICATE_VERIFY_FAILED"), "shows a certificate that is not trusted"),
        (named("ReadTimeout", named("TimeoutException"))("x"), "takes too long to answer"),
        (named("ConnectError", named("NetworkError"))("x"), "cannot be reached"),
        (named("IncompleteRead")("x"), "a file came only in part"),
        (OSError("Consistency check failed: file should be of size 3"), "a file came only in part"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "is not the hub"),
        (named("HFValidationError", ValueError)("x"), "this is no id of the hub"),
        (named("LocalEntryNotFoundError", FileNotFoundError)("x"), "it is not here, or only half of it"),
        (caused(named("LocalEntryNotFoundError")("x"), named("ConnectError")("y")), "cannot be reached"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_an_error_means(error: Exception, message: str) -> None:
    found = as_error(error, DATA, pool="mine: svhn")
    assert found.message.startswith("mine: svhn: you/data@v1: ")
    assert message in found.message
    assert found.hint


def test_what_nobody_thought_of_is_told_as_it_is() -> None:
    found = as_error(ZeroDivisionError("division by zero\nmore"), DATA)
    assert str(found) == "you/data@v1: ZeroDivisionError: division by zero"


def test_nothing_here_runs_code_of_a_repository() -> None:
    import fusion_bench

    root = Path(fusion_bench.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    assert [path for path, text in texts.items() if re.search(r"trust_remote_code=(?!False\b)", text)] == []
