"""Text heads: made in batches, the same to the bit as all at once, and kept by what they are made from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.zero_shot.heads import TOGETHER, HeadCache, class_directions, kept_head

TEMPLATES = ("a picture of {}", "{}")


@pytest.fixture
def pool(toy_assets: Path):
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


def features(prompts: Sequence[str]) -> Tensor:
    """Random, but for each prompt always the same; not of unit length."""
    rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, p)) * 1009 + len(p))) for p in prompts]
    return torch.stack(rows) * 3


def plain(classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """The formula, everything in memory."""
    each = [F.normalize(features([t.format(c) for c in classes]).double(), dim=-1) for t in templates]
    return F.normalize(torch.stack(each).mean(dim=0), dim=-1)


@pytest.mark.parametrize(("classes", "templates"), [(1, 1), (7, 3), (300, 20)])
def test_directions_are_unit_means_of_unit_features(classes: int, templates: int) -> None:
    names = [f"class {i}" for i in range(classes)]
    patterns = [f"{'a ' * i}{{}}" for i in range(templates)]
    found = class_directions(features, names, patterns)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), plain(names, patterns), atol=1e-6)


def test_prompts_come_in_batches_of_one_template() -> None:
    seen: list[list[str]] = []

    def watched(prompts: Sequence[str]) -> Tensor:
        seen.append(list(prompts))
        return features(prompts)

    class_directions(watched, [str(i) for i in range(600)], ["a {}", "the {}"])
    assert [len(prompts) for prompts in seen] == [TOGETHER, TOGETHER, 600 - 2 * TOGETHER] * 2
    assert all(len({prompt.split()[0] for prompt in prompts}) == 1 for prompts in seen)
    assert [p for prompts in seen for p in prompts] == [f"{t} {i}" for t in ("a", "the") for i in range(600)]


def test_a_head_is_to_the_bit_what_stacking_float32_gave(pool) -> None:
    classes = ("small", "large", "none")
    stacked = torch.stack([F.normalize(pool.text_features([t.format(c) for c in classes]), dim=-1) for t in TEMPLATES])
    assert torch.equal(class_directions(pool.text_features, classes, TEMPLATES), F.normalize(stacked.mean(0), dim=-1))


def test_a_head_comes_out_the_same_under_autocast_and_can_be_trained_through(pool, tmp_path: Path) -> None:
    classes = ("red", "blue")
    expected = class_directions(pool.text_features, classes, TEMPLATES)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        head = kept_head(pool, classes, TEMPLATES, cache=HeadCache(tmp_path))
    assert torch.equal(head, expected)
    assert not head.is_inference()


def test_the_second_time_nothing_is_encoded(pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HeadCache(tmp_path)
    first = kept_head(pool, ("red", "blue"), TEMPLATES, cache=cache)
    monkeypatch.setattr(type(pool), "text_features", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(kept_head(pool, ("red", "blue"), TEMPLATES, cache=cache), first)
    for classes, templates in ((("blue", "red"), TEMPLATES), (("red", "blue"), TEMPLATES[:1])):
        with pytest.raises(pytest.fail.Exception):
            kept_head(pool, classes, templates, cache=cache)


def test_another_text_tower_or_tokenizer_has_another_head(
    pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = HeadCache(tmp_path)
    kept_head(pool, ("red",), TEMPLATES, cache=cache)
    monkeypatch.setattr(type(pool), "text_hash", lambda self: "another")
    kept_head(pool, ("red",), TEMPLATES, cache=cache)
    assert len(list((tmp_path / "heads").glob("*.safetensors"))) == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "foreign"])
def test_a_damaged_file_is_made_again(pool, tmp_path: Path, damage: str) -> None:
    cache = HeadCache(tmp_path)
    first = kept_head(pool, ("red", "blue"), TEMPLATES, cache=cache)
    (path,) = (tmp_path / "heads").glob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(
        {
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "cut": content[:-5],
            "emptied": b"",
            "foreign": b"<html>",
        }[damage]
    )
    assert torch.equal(kept_head(pool, ("red", "blue"), TEMPLATES, cache=cache), first)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written(pool, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("a file in its place")
    with pytest.raises(FusionBenchError, match="set FUSION_BENCH_CACHE"):
        kept_head(pool, ("red",), TEMPLATES, cache=HeadCache(tmp_path))


def test_another_process_finds_the_head(
    pool, toy_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_BENCH_CACHE", str(tmp_path))
    options = {"type": "zero_shot_classification", "path": str(toy_assets / "tasks_toy"), "tasks": ["stripes"]}
    head = load_taskpool(options).bind(pool)["stripes"].head
    program = f"""
from fusion_bench.modelpools.embedded_clip import EmbeddedClip
from fusion_bench.registry import load_taskpool
EmbeddedClip.text_features = lambda *_: 1 / 0
pool = EmbeddedClip("toy", {str(toy_assets / "models_toy")!r})
print(load_taskpool({options!r}).bind(pool)["stripes"].head.numpy().tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == head.numpy().tobytes().hex(), done.stderr


def test_text_hashes_are_of_the_text_side_alone(pool, toy_assets: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(toy_assets / "models_toy", folder)
    manifest = json.loads((folder / "manifest.json").read_text())

    def hashed(file: str) -> tuple[str, str]:
        changed = json.loads(json.dumps(manifest))
        changed["files"][file]["sha256"] = "0" * 64
        (folder / "manifest.json").write_text(json.dumps(changed))
        other = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(folder)})
        return other.text_hash(), other.content_hash()

    text, content = pool.text_hash(), pool.content_hash()
    assert hashed("models/stripes.safetensors") == (text, hashed("models/stripes.safetensors")[1])
    assert hashed("models/stripes.safetensors")[1] != content
    for file in ("models/base.safetensors", "vocabulary.txt"):
        assert hashed(file)[0] != text


def test_an_error_of_the_building_is_none_of_the_cache(tmp_path: Path) -> None:
    def build() -> Tensor:
        raise OSError("no tokenizer")

    with pytest.raises(OSError, match="no tokenizer"):
        HeadCache(tmp_path).get({"a": 1}, build)
    (tmp_path / "other").write_text("a file in the way")
    with pytest.raises(FusionBenchError, match="cannot write the cache of text heads"):
        HeadCache(tmp_path / "other").get({"a": 1}, lambda: torch.ones(1, 1))
