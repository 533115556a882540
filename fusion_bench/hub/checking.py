"""What the hub has under an id: commit, files, sums, licence, and whether the headers of its weights are sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.hub.files import INDEXES, as_configs, is_weights, subsets, wanted
from fusion_bench.hub.headers import Tensors, Unsound, check_header, shards
from fusion_bench.hub.pins import Pin
from fusion_bench.hub.places import offline
from fusion_bench.hub.source import Source
from fusion_bench.hub.trouble import endpoint, explained, said

_FIRST = 100_000  # bytes: nine headers of ten are shorter


@dataclass(frozen=True)
class Checked:
    """What a source is, as the hub states it.

    Attributes:
        source: as it was asked for.
        commit: which its revision means.
        files: wanted files: names to ``(bytes, sha256)``; no sum for what is not stored as a large file.
        licence: None where it states none.
        gated: whether a licence has to be accepted.
        tensors: of safetensors, names to type and shape; None where headers were not read.
    """

    source: Source
    commit: str
    files: Mapping[str, tuple[int, str | None]]
    licence: str | None
    gated: bool
    tensors: Tensors | None = None

    @property
    def bytes(self) -> int:
        """Of all wanted files."""
        return sum(size for size, _ in self.files.values())

    @property
    def pin(self) -> Pin:
        """What is kept of it."""
        return Pin(self.commit, self.source.revision, self.files, self.licence, self.gated)


def check(source: Source, *, pool: str | None = None, known: Iterable[str] = (), headers: bool = True) -> Checked:
    """Ask the hub about a source; no weights are fetched.

    Args:
        source: of the hub.
        pool: that names it, for messages.
        known: ids among which the nearest to a wrong one is looked for.
        headers: whether headers of safetensors are read (by ranges) and checked.

    Raises:
        FusionBenchError: the hub does not answer, has no such repository, revision or file, or asks for a token; what
            it has does not fit the sums that the source states; a header is not sound.
    """
    if offline():
        raise FusionBenchError(
            f"{said(source, pool)}: HF_HUB_OFFLINE forbids to ask the hub", hint="unset it, or set it to 0"
        )
    with explained(source, pool=pool, known=known):
        checked = _listed(source, pool)
        _against_stated(checked, pool)
        if headers and source.kind == "model":
            return Checked(**{**vars(checked), "tensors": _tensors(checked, pool)})
        return checked


def _listed(source: Source, pool: str | None) -> Checked:
    from huggingface_hub import HfApi

    info: Any = HfApi(endpoint=endpoint()).repo_info(
        source.id, repo_type=source.kind, revision=source.revision, files_metadata=True
    )
    there = {file.rfilename: (file.size or 0, _sum(file)) for file in info.siblings or ()}
    card = _plain(info.card_data)
    configs = as_configs(card.get("configs"))
    names = wanted(there, source, configs)
    if not any(map(is_weights, names)):
        raise _nothing(source, pool, there, subsets(there, configs))
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or licence
    return Checked(
        source,
        str(info.sha),
        {name: there[name] for name in names},
        licence if isinstance(licence, str) else None,
        bool(info.gated),
    )


def _sum(file: Any) -> str | None:
    found = getattr(file, "lfs", None)
    digest = found.get("sha256") if isinstance(found, dict) else getattr(found, "sha256", None)
    return str(digest) if digest else None


def _plain(card: Any) -> dict[str, Any]:
    found = card.to_dict() if hasattr(card, "to_dict") else card
    return dict(found) if isinstance(found, Mapping) else {}


def _nothing(source: Source, pool: str | None, there: Iterable[str], known: list[str]) -> FusionBenchError:
    if source.kind == "dataset" and source.subset and any(name.endswith(".parquet") for name in there):
        near = nearest(source.subset, known)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        return FusionBenchError(
            f"{said(source, pool)}: it has no subset {source.subset!r}",
            hint=f"{meant}It has: {', '.join(known) or 'none'}",
        )
    if source.subfolder and not any(name.startswith(f"{source.subfolder}/") for name in there):
        folders = {name.rpartition("/")[0] for name in there if "/" in name}
        near = nearest(source.subfolder, folders)
        return FusionBenchError(
            f"{said(source, pool)}: it has no folder {source.subfolder!r}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(sorted(folders)) or 'none'}",
        )
    what = (source.weights or "weights") if source.kind == "model" else "Parquet files"
    has = sorted(there)
    converted = "; the hub often keeps a copy in Parquet: revision: refs/convert/parquet"
    return FusionBenchError(
        f"{said(source, pool)}: it has no {what}",
        hint=f"it has: {', '.join(has[:8]) or 'nothing'}{converted if source.kind == 'dataset' else ''}",
    )


def _against_stated(checked: Checked, pool: str | None) -> None:
    source = checked.source
    for name, stated in source.sha256.items():
        if name not in checked.files:
            raise FusionBenchError(
                f"{said(source, pool)}: it has no {name}, whose sum is stated",
                hint="name the revision that has it, or leave the sum out",
            )
        found = checked.files[name][1]
        if found is not None and found != stated:
            raise FusionBenchError(
                f"{said(source, pool)}: {name} has the SHA-256 {found[:16]}… there, {stated[:16]}… is stated",
                hint="it was replaced: name the revision that has the stated one, or look at what changed and pin anew",
            )


def _tensors(checked: Checked, pool: str | None) -> Tensors | None:
    """Of all safetensors files, each header checked against the size of its file, and the index against them."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    origin: dict[str, str] = {}
    files = [name for name in checked.files if name.endswith(".safetensors")]
    name = ""
    try:
        for name in files:
            tensors = check_header(_reader(checked, name), checked.files[name][0])
            found.update(tensors)
            origin.update(dict.fromkeys(tensors, PurePosixPath(name).name))
        for name in (one for one in checked.files if PurePosixPath(one).name == INDEXES[0]):
            lost = [t for t, file in shards(_ranged(checked, name)).items() if origin.get(t) != file]
            if lost:
                raise Unsound(f"it lists {lost[0]!r}, which its shard has not ({len(lost)} such tensors)")
    except Unsound as error:
        raise FusionBenchError(
            f"{said(checked.source, pool)}: {name} is not sound: {error}",
            hint="it is damaged there too: tell its owner, or name another revision",
        ) from error
    return found if files else None


def _reader(checked: Checked, name: str) -> Callable[[int, int], bytes]:
    """Bytes of a file on the hub; nearly always one request is enough for its header."""
    first = _ranged(checked, name, 0, _FIRST)
    return lambda start, stop: first[start:stop] if stop <= len(first) else _ranged(checked, name, start, stop)


def _ranged(checked: Checked, name: str, start: int = 0, stop: int | None = None) -> bytes:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    source = checked.source
    url = hf_hub_url(source.id, name, repo_type=source.kind, revision=checked.commit, endpoint=endpoint())
    headers = build_hf_headers() | ({} if stop is None else {"Range": f"bytes={start}-{stop - 1}"})
    answer: Any = get_session().get(url, headers=headers, timeout=30)
    hf_raise_for_status(answer)
    content: bytes = answer.content
    if stop is None or answer.status_code == 206:
        return content
    return content[start:stop]  # whoever answers knows no ranges
