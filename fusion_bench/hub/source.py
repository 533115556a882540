"""A source: which model or data set is meant, and at which revision; nothing is looked up or opened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from fusion_bench.errors import FusionBenchError, unknown_name

Kind: TypeAlias = Literal["model", "dataset"]
Place: TypeAlias = Literal["hub", "path", "package", "python"]

PACKAGE, PYTHON = "package://", "python://"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
_SUM = re.compile(r"[0-9a-f]{64}")
_LONGEST = 96  # of an id, as the hub has it
_EXAMPLE = "owner/name, owner/name@revision, ./folder, package://name or python://module/folder"
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Source:
    """A model or data set, named.

    Attributes:
        id: ``owner/name`` of the hub, a path, ``package://name`` (below ``fusion_bench/assets``), or
            ``python://module/folder`` (inside an installed Python package).
        revision: branch, tag or commit; None is the repository's main branch.
        kind: what sort of repository.
        subfolder: of the repository, ``/`` between its parts.
        weights: of a model that lies there in several files of weights, the one that is meant.
        subset: the configuration of a data set that has several.
        bytes: of what is fetched, where known.
        sha256: sums of files, by name in the repository.
        licence: as the repository states it, for instance ``mit``.
        gated: whether a licence has to be accepted before it can be fetched.
    """

    id: str
    revision: str | None = None
    kind: Kind = "model"
    subfolder: str | None = None
    weights: str | None = None
    subset: str | None = None
    bytes: int | None = None
    sha256: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)
    licence: str | None = None
    gated: bool = False

    @property
    def place(self) -> Place:
        """What the id names.

        Example:
            >>> Source("gpt2").place, Source("./mine").place, Source("package://clip_mini").place
            ('hub', 'path', 'package')
        """
        if self.id.startswith(PACKAGE):
            return "package"
        if self.id.startswith(PYTHON):
            return "python"
        return "path" if _is_path(self.id) else "hub"

    @property
    def label(self) -> str:
        """As messages and tables call it.

        Example:
            >>> Source("a/b", "0123456789abcdef0123456789abcdef01234567", subset="c").label
            'a/b@0123456789ab (c)'
        """
        revision = self.revision or ""
        short = revision[:12] if re.fullmatch(r"[0-9a-f]{40}", revision) else revision
        folder = "".join(f"/{part}" for part in (self.subfolder, self.weights) if part)
        return f"{self.id}{folder}{f'@{short}' if short else ''}{f' ({self.subset})' if self.subset else ''}"

    @classmethod
    def parse(cls, value: str | Mapping[str, Any], *, kind: Kind = "model", where: str = "the source") -> Source:
        """From what a YAML file says.

        Args:
            value: an id (see the class; ``owner/name@revision`` too), a path (it begins with ``.``, ``/`` or ``~``, or
                something of that name exists here), or a mapping of the attributes of this class.
            kind: where the mapping does not say it.
            where: what errors call the place that the value stands in.

        Raises:
            FusionBenchError: no id, a malformed one, an unknown key (with the nearest), a value of a wrong type.

        Example:
            >>> Source.parse("owner/name@v1") == Source("owner/name", "v1")
            True
            >>> Source.parse({"id": "owner/data", "subset": "digits"}, kind="dataset").subset
            'digits'
        """
        if isinstance(value, str):
            return cls(**_identified(value, where), kind=kind)
        if not isinstance(value, Mapping):
            raise FusionBenchError(f"{where} is {value!r}, which names nothing", hint=f"write {_EXAMPLE}")
        known = [one.name for one in dataclasses.fields(cls)]
        for key in value:
            if key not in known:
                raise unknown_name("key", str(key), known, where=where)
        if not isinstance(value.get("id"), str):
            raise FusionBenchError(f"{where} has no id", hint=f"id: {_EXAMPLE}")
        found = {"kind": kind, **value}
        named = _identified(found.pop("id"), where)
        if named.get("revision") and found.get("revision") not in (None, named["revision"]):
            raise FusionBenchError(f"{where} has two revisions: {named['revision']} and {found['revision']}")
        found = {**found, **named}
        _check(found, where)
        return cls(**found)


def _identified(text: str, where: str) -> dict[str, Any]:
    """The id in a text, and the revision after its ``@``."""
    text = text.strip()
    if text.startswith((PACKAGE, PYTHON)):
        rest = text.partition("://")[2].strip("/")
        if not rest or ".." in rest.split("/"):
            raise FusionBenchError(f"{where}: {text!r} names no folder", hint=f"{text.partition('://')[0]}://name")
        return {"id": text}
    if _is_path(text):
        return {"id": text}
    if "://" in text:
        rest = text.partition("://")[2].partition("/")[2].removeprefix("datasets/")
        parts = rest.split("/")
        raise FusionBenchError(
            f"{where}: {text!r} is an address", hint=f"write the id: {'/'.join(parts[:2]) or 'owner/name'}"
        )
    name, at, revision = text.partition("@")
    parts = name.split("/")
    if len(parts) > 2:
        raise FusionBenchError(
            f"{where}: {text!r} is no id: it has {len(parts)} parts, and no such folder is here",
            hint=f"a folder of a repository: {{id: {'/'.join(parts[:2])}, subfolder: {'/'.join(parts[2:])}}}",
        )
    sound = all(map(_NAME.fullmatch, parts)) and not re.search(r"--|\.\.|\.git$", name) and len(name) <= _LONGEST
    if not sound or (at and not _REVISION.fullmatch(revision)):
        raise FusionBenchError(f"{where}: {text!r} is no id", hint=f"write {_EXAMPLE}")
    return {"id": name, "revision": revision} if at else {"id": name}


def _is_path(text: str) -> bool:
    if text in (".", "..") or text.startswith(("/", "./", "../", "~", ".\\", "..\\")):
        return True
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # no file system has such a name
        return False


def _check(found: Mapping[str, Any], where: str) -> None:
    if found["kind"] not in get_args(Kind):
        raise unknown_name("kind", str(found["kind"]), get_args(Kind), where=where)
    for key in ("revision", "subfolder", "weights", "subset", "licence"):
        if not isinstance(found.get(key), str | None):
            raise FusionBenchError(f"{where}: {key} is {found[key]!r}, not a text", hint="put quotes around it")
    for key in ("revision", "subfolder"):
        text = found.get(key)
        if text is not None and (not _REVISION.fullmatch(text) or ".." in text.split("/")):
            raise FusionBenchError(f"{where}: {key} {text!r} cannot be", hint="for instance main, or a commit")
    weights = found.get("weights")
    if weights is not None and not _NAME.fullmatch(weights):
        raise FusionBenchError(f"{where}: weights {weights!r} is no file's name", hint="weights: model.safetensors")
    size = found.get("bytes")
    if size is not None and (type(size) is not int or size < 0):
        raise FusionBenchError(f"{where}: bytes is {size!r}", hint="give a whole number")
    if not isinstance(found.get("gated", False), bool):
        raise FusionBenchError(f"{where}: gated is {found['gated']!r}", hint="true or false")
    sums = found.get("sha256", {})
    if not isinstance(sums, Mapping) or not all(isinstance(s, str) and _SUM.fullmatch(s) for s in sums.values()):
        raise FusionBenchError(
            f"{where}: sha256 is {sums!r}", hint="sha256: {model.safetensors: 64 hexadecimal digits}"
        )
