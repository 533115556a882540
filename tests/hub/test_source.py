"""What a source may be written as, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("owner/name", Source("owner/name")),
        ("gpt2", Source("gpt2")),
        ("owner/name@v1.0", Source("owner/name", "v1.0")),
        ("owner/name@refs/convert/parquet", Source("owner/name", "refs/convert/parquet")),
        ("package://clip_mini", Source("package://clip_mini")),
        ("python://numpy/core", Source("python://numpy/core")),
        ("./mine", Source("./mine")),
        ("~/models/x", Source("~/models/x")),
        ("/data/x@1", Source("/data/x@1")),
        ({"id": "a/b", "revision": "r", "subfolder": "s"}, Source("a/b", "r", subfolder="s")),
        ({"id": "a/b", "weights": "w.pt"}, Source("a/b", weights="w.pt")),
        ({"id": "a/b@r", "bytes": 3, "gated": True}, Source("a/b", "r", bytes=3, gated=True)),
        ({"id": "a/b", "sha256": {"w": "0" * 64}}, Source("a/b", sha256={"w": "0" * 64})),
    ],
)
def test_what_it_may_be(value: str | dict[str, object], expected: Source) -> None:
    assert Source.parse(value) == expected


def test_a_folder_that_is_here_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Source.parse("owner/name").place == "hub"
    (tmp_path / "owner/name").mkdir(parents=True)
    assert Source.parse("owner/name").place == "path"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("", "x: '' is no id", "owner/name"),
        ("a b/c", "x: 'a b/c' is no id", "owner/name"),
        ("a/b@", "x: 'a/b@' is no id", "owner/name@revision"),
        ("a--b/c", "x: 'a--b/c' is no id", "owner/name"),
        ("a/b.git", "x: 'a/b.git' is no id", "owner/name"),
        ("a/" + "b" * 100, "is no id", "owner/name"),
        ("a/" + "b" * 1000, "is no id", "owner/name"),
        ("a/b\0", "is no id", "owner/name"),
        ("a/b/c/d", "x: 'a/b/c/d' is no id: it has 4 parts", "{id: a/b, subfolder: c/d}"),
        ("https://some.where/datasets/a/b/tree/main", "is an address", "write the id: a/b"),
        ("package://../x", "names no folder", "package://name"),
        ("python://", "names no folder", "python://name"),
        (3, "x is 3, which names nothing", "owner/name"),
        ({"revision": "v1"}, "x has no id", "owner/name"),
        ({"id": "a/b", "revison": "v1"}, "unknown key 'revison' in x", "did you mean 'revision'?"),
        ({"id": "a/b", "revision": 3}, "x: revision is 3, not a text", "quotes"),
        ({"id": "a/b", "subfolder": "../c"}, "x: subfolder '../c' cannot be", "commit"),
        ({"id": "a/b", "weights": "c/w.pt"}, "x: weights 'c/w.pt' is no file's name", "weights: model.safetensors"),
        ({"id": "a/b@v1", "revision": "v2"}, "x has two revisions: v1 and v2", ""),
        ({"id": "a/b", "kind": "space"}, "unknown kind 'space' in x", "model"),
        ({"id": "a/b", "bytes": "3 GB"}, "x: bytes is '3 GB'", "whole number"),
        ({"id": "a/b", "sha256": {"w": "abc"}}, "x: sha256 is", "64 hexadecimal digits"),
        ({"id": "a/b", "gated": "yes"}, "x: gated is 'yes'", "true or false"),
    ],
)
def test_what_it_may_not_be(value: object, message: str, hint: str) -> None:
    with pytest.raises(FusionBenchError) as caught:
        Source.parse(value, where="x")  # type: ignore[arg-type]
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
