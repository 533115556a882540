"""Text heads: a direction a class, made of the prompts of all templates, once, and kept on disk by content."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench import models
from fusion_bench.datasets import cache_root
from fusion_bench.datasets.cache import locked, writing
from fusion_bench.errors import FusionBenchError
from fusion_bench.files import write_whole
from fusion_bench.modelpools import ModelPool, base, whole
from fusion_bench.modelpools.zero_shot import ZeroShotPool

TOGETHER = 256  # prompts a step
_KIND = "cache of text heads"


def class_directions(
    features: Callable[[Sequence[str]], Tensor],
    classes: Sequence[str],
    templates: Sequence[str],
    *,
    together: int = TOGETHER,
) -> Tensor:
    """The unit mean, over templates t, of the unit features of t's prompts, class by class.

    Only a sum ``(classes, d)`` is held, in float64. Prompts of two templates never stand in one batch: a tokenizer that
    pads to the longest would let the one template change the last bits of the other.

    Args:
        features: of prompts, ``(n, d)``.
        classes, templates: every template has ``{}`` where a class goes.
        together: prompts a batch at most.

    Returns:
        float32 ``(classes, d)``.

    Example:
        >>> letters = lambda prompts: torch.tensor([[p.count("a"), p.count("b")] for p in prompts]).float()
        >>> class_directions(letters, ["a", "b"], ["{}", "{}{}"])
        tensor([[1., 0.],
                [0., 1.]])
    """
    total: Tensor | None = None
    with _exactly():
        for template in templates:
            for start in range(0, len(classes), together):
                prompts = [template.replace("{}", name) for name in classes[start : start + together]]
                found = F.normalize(features(prompts), dim=-1).double().cpu()
                if total is None:
                    total = torch.zeros(len(classes), found.shape[-1], dtype=torch.float64)
                total[start : start + together] += found
        if total is None:
            raise FusionBenchError("a text head needs a class and a template")
        return F.normalize((total / len(templates)).float(), dim=-1)


class HeadCache:
    """Heads ``(classes, d)`` as safetensors files, named after the hash of all that they are made from.

    Args:
        root: the folder; it is made when first written to.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or cache_root()) / "heads"

    def get(self, made_from: Mapping[str, Any], build: Callable[[], Tensor]) -> Tensor:
        """The head kept for ``made_from``, else the one that ``build`` makes, which is kept.

        Of several processes one builds and the others wait. A damaged file is made again.

        Raises:
            FusionBenchError: the folder cannot be written.
        """
        key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
        path = self.root / f"{key[:32]}.safetensors"
        found = _read(path)
        if found is not None:
            return found
        with locked(path, _KIND):
            found = _read(path)
            if found is None:
                found = build()
                with writing(self.root, _KIND):
                    write_whole(path, _packed(found))
        return found


def kept_head(pool: ZeroShotPool, classes: Sequence[str], templates: Sequence[str], *, cache: HeadCache) -> Tensor:
    """The text head of a task for a pool, from the cache if it was made before.

    It is made anew where the class names, templates, the pool's text tower or tokenizer (``pool.text_hash()``), the
    code of either, or a library that they use changed.
    """
    made_from = {
        "classes": list(classes),
        "templates": list(templates),
        "texts": pool.text_hash(),
        "code": _code(type(whole(pool))),
        "libraries": {name: _version(name) for name in ("torch", "transformers", "tokenizers", "open_clip_torch")},
        "together": TOGETHER,
    }
    return cache.get(made_from, lambda: class_directions(pool.text_features, classes, templates))


def _packed(head: Tensor) -> bytes:
    from safetensors.torch import save

    return save({"head": head.contiguous()}, metadata={"sha256": _sum(head)})


def _read(path: Path) -> Tensor | None:
    """The head, if its bytes are those that were written: a damaged one would give wrong numbers silently."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            head, written = file.get_tensor("head"), (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):  # not there yet, or damaged: it is made (again)
        return None
    return head if _sum(head) == written else None


def _sum(head: Tensor) -> str:
    return hashlib.sha256(head.numpy().tobytes()).hexdigest()


def _code(kind: type[ModelPool]) -> str:
    """A hash of the files that text features are computed by: the pool's class and this package's models."""
    own = [inspect.getfile(cls) for cls in kind.__mro__ if issubclass(cls, ModelPool)]
    shipped = [path for module in (models, base) for path in Path(inspect.getfile(module)).parent.glob("*.py")]
    files = sorted({*map(Path, own), *shipped, Path(__file__)})
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def _exactly() -> Iterator[None]:
    """No autocast, no inference tensors: whatever surrounds the making of a head, it comes out the same."""
    kinds = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield
