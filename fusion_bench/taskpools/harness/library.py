"""The library lm-eval: whether it is here, what it prints, and whose random numbers it draws."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from unittest import mock

from fusion_bench.errors import FusionBenchError

LIBRARY = "lm-eval"
LEAST = (0, 4, 13)  # earlier ones list their tasks otherwise
INSTALL = "pip install 'fusion-bench-suite[lm]'"

#: The harness' own seeds, so that figures are those of its command line.
SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}

_LOGGERS = ("lm_eval", "datasets", "transformers", "evaluate", "absl")


def unavailable() -> str | None:
    """Why the harness cannot be used here, and what to do; None where it can. Nothing is imported for it."""
    try:
        found = version()
    except PackageNotFoundError:
        return f"needs the library {LIBRARY}, which is not installed; {INSTALL}"
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdecimal())
    if numbers < LEAST:
        return f"needs {LIBRARY} {'.'.join(map(str, LEAST))} or later, {found} is installed; {INSTALL}"
    if importlib.util.find_spec("accelerate") is None:
        return f"needs accelerate, which {LIBRARY} runs models with; {INSTALL}"
    return None


def require_library(*, by: str) -> None:
    """Refuse to go on without the library.

    Args:
        by: who needs it.

    Raises:
        FusionBenchError: it is not installed, or too old; with the command.
    """
    reason = unavailable()
    if reason is not None:
        what, _, command = reason.partition("; ")
        raise FusionBenchError(f"{by} {what}", hint=command)


def version() -> str:
    """Of the installed library.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    return version_of(LIBRARY)


Aloud = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def quiet() -> Iterator[Aloud]:
    """Without what the harness, and the libraries that it calls, log and print, bars of progress among them.

    Its bars and a part of its messages cannot be switched off, so the process' streams lead nowhere meanwhile; with
    what this yields, ``with aloud():``, they lead for a while to where they led.
    """
    output, errors = sys.stdout, sys.stderr

    @contextlib.contextmanager
    def aloud() -> Iterator[None]:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            yield

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield aloud
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def seeded(device: str = "cpu") -> Iterator[None]:
    """With the global generators that the harness draws from at `SEEDS`, and as they were afterwards.

    Standard errors without a closed form are resampled in this process meanwhile: forking one that has threads, or
    holds a GPU, is asking for trouble.
    """
    import numpy as np
    import torch

    place = torch.device(device)
    cuda = [torch.cuda.current_device() if place.index is None else place.index] if place.type == "cuda" else []
    words, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what the harness draws from
    try:
        with torch.random.fork_rng(devices=cuda), mock.patch.dict(os.environ, {"DISABLE_MULTIPROC": "1"}):
            random.seed(SEEDS["random"])
            np.random.seed(SEEDS["numpy"])  # noqa: NPY002
            torch.manual_seed(SEEDS["torch"])
            yield
    finally:
        random.setstate(words)
        np.random.set_state(arrays)  # noqa: NPY002
