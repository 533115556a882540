"""Fetching from a hub that behaves, and from one that does not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, check, fetch, local, missing
from fusion_bench.hub.places import repository, snapshot
from fusion_bench.hub.transfer import blob, partial
from tests.helpers.fake_hub import FakeHub, Repository, safetensors, sha256
from tests.hub.conftest import BASE, TOWER

MODEL = Source("you/base")


def brought(source: Source, **options: object) -> Path:
    found = fetch({"mine: it": source}, **options)["mine: it"]  # type: ignore[arg-type]
    assert isinstance(found, Path), found
    return found


def refused(source: Source) -> FusionBenchError:
    found = fetch({"mine: it": source})["mine: it"]
    assert isinstance(found, FusionBenchError)
    assert found.hint
    assert local(source) is None
    return found


def test_the_wanted_files_of_a_model_come_and_no_others(hub: FakeHub) -> None:
    assert missing(MODEL) == "it is not in the cache"
    folder = brought(MODEL)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == BASE
    assert local(MODEL) == folder
    assert folder.name == hub.models["you/base"].commit
    assert hub.sent == len(BASE)


def test_a_linearised_adapter_is_checked_and_comes(hub: FakeHub) -> None:
    name, layer = "linearized_adapter_model.safetensors", "base_model.model.q"
    shapes = {f"{layer}.model.lora_A.default.weight": (2, 3), f"{layer}.params0_values.1": (2, 3)}
    files = {
        name: safetensors(shapes),
        "adapter_config.json": b"{}",
        "README.md": b"# L-LoRA",
        "other.safetensors": b"",
    }
    hub.models["you/linear"] = Repository(files)
    source = Source("you/linear", hub.models["you/linear"].commit)
    found = check(source)
    assert set(found.files) == {name, "adapter_config.json"}
    assert set(found.tensors or ()) == set(shapes)
    folder = brought(source)
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", name]
    assert local(source) == folder
    (folder / name).unlink()
    assert str(missing(source)).endswith("it has no weights")


def test_it_lies_where_huggingface_hub_looks(hub: FakeHub) -> None:
    from huggingface_hub import snapshot_download

    folder = brought(MODEL)
    hub.status = 500
    assert Path(snapshot_download("you/base", local_files_only=True, allow_patterns=["*.safetensors"])) == folder


def test_what_is_here_is_not_fetched_again(hub: FakeHub) -> None:
    brought(MODEL)
    sent = hub.sent
    brought(MODEL)
    assert hub.sent == sent


def test_a_subset_of_a_data_set(hub: FakeHub) -> None:
    small = Source("you/digits", kind="dataset", subset="small")
    folder = brought(small)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.parquet")) == [
        "s/t-00000-of-00002.parquet",
        "s/t-00001-of-00002.parquet",
    ]
    assert local(small) == folder
    assert local(Source("you/digits", kind="dataset", subset="large")) is None
    (folder / "s/t-00001-of-00002.parquet").unlink()
    assert local(small) is None
    assert missing(small).endswith("s/t-00001-of-00002.parquet is not there")


def test_a_commit_is_fetched_and_found_as_such(hub: FakeHub) -> None:
    commit = hub.models["you/base"].commit
    pinned = Source("you/base", commit)
    assert brought(pinned).name == commit
    assert local(pinned) is not None
    assert local(MODEL) is None  # main may be another by now


def test_bytes_are_told(hub: FakeHub) -> None:
    told: list[tuple[str, int, int]] = []
    sources = {"a: base": MODEL, "a: expert": Source("you/expert")}
    assert all(isinstance(one, Path) for one in fetch(sources, progress=lambda *now: told.append(now)).values())
    fetched = [now for now in told if now[0].startswith("fetch")]
    total = len(BASE) + len(TOWER)
    assert {now[2] for now in fetched} == {total}
    assert fetched[-1][1] == total
    assert [now[1] for now in told if now[0].startswith("verify")][-1] == total


def test_a_download_that_is_cut_goes_on_within_the_same_call(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut, hub.cuts = 1000, 2
    folder = brought(MODEL)
    assert (folder / "model.safetensors").read_bytes() == BASE
    assert [r for _, path, r in hub.seen if path.startswith("/cdn/")] == [None, "bytes=1000-", "bytes=2000-"]


def test_a_download_that_ended_goes_on_in_the_next_call(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut, hub.cuts = 0, 100
    part = partial(MODEL, sha256(BASE))
    part.parent.mkdir(parents=True)
    part.write_bytes(BASE[:5000])
    assert "came only in part" in refused(MODEL).message
    assert part.read_bytes() == BASE[:5000]
    hub.cuts, hub.seen, told = 0, [], []
    folder = brought(MODEL, progress=lambda *now: told.append(now))
    assert [r for _, path, r in hub.seen if path.startswith("/cdn/")] == ["bytes=5000-"]
    assert hub.sent == len(BASE) - 5000
    assert (folder / "model.safetensors").read_bytes() == BASE
    assert not part.exists()
    assert max(done for stage, done, _ in told if stage.startswith("fetch")) == len(BASE)


def test_a_server_that_knows_no_ranges_begins_again(hub: FakeHub) -> None:
    hub.ranges = False
    part = partial(MODEL, sha256(BASE))
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 5000)
    assert (brought(MODEL) / "model.safetensors").read_bytes() == BASE


def test_half_a_file_is_no_model(hub: FakeHub) -> None:
    brought(MODEL)
    folder = snapshot(MODEL)
    assert folder is not None
    (folder / "model.safetensors").unlink()
    blob(MODEL, sha256(BASE)).unlink()
    partial(MODEL, sha256(BASE)).write_bytes(BASE[:10])
    assert local(MODEL) is None
    assert missing(MODEL) == "half of it is in the cache: it has no weights"


def test_what_others_left_unfinished_does_not_block_for_ever(hub: FakeHub) -> None:
    brought(MODEL)
    (repository(MODEL) / "blobs" / "abc.incomplete").write_bytes(b"x")
    assert "being fetched" in missing(MODEL)
    brought(MODEL)
    assert missing(MODEL) == ""


@pytest.mark.parametrize("left", [b"", b"y" * 100, b"y" * 50_000], ids=["nothing", "a part", "too much"])
def test_other_bytes_than_the_hub_states_do_not_enter_the_cache(hub: FakeHub, left: bytes) -> None:
    hub.altered = not left
    part = partial(MODEL, sha256(BASE))
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    if len(left) < len(BASE):
        error = refused(MODEL)
        assert f"the hub states {sha256(BASE)[:16]}" in error.message
        assert not part.exists()
        assert not blob(MODEL, sha256(BASE)).exists()
    hub.altered = False
    assert (brought(MODEL) / "model.safetensors").read_bytes() == BASE


def test_a_file_that_was_altered_here_is_told_and_left(hub: FakeHub) -> None:
    folder = brought(MODEL)
    file = (folder / "model.safetensors").resolve()
    file.write_bytes(BASE[:-1] + b"?")
    found = fetch({"mine: it": MODEL})["mine: it"]
    assert isinstance(found, FusionBenchError)
    assert found.message.startswith("mine: it: you/base: model.safetensors has the SHA-256")
    assert found.hint is not None
    assert str(file) in found.hint
    assert file.read_bytes() == BASE[:-1] + b"?"


def test_a_stated_sum_that_the_hub_has_not(hub: FakeHub) -> None:
    error = refused(Source("you/base", sha256={"model.safetensors": "0" * 64}))
    assert "0000000000000000… is stated" in error.message
    assert hub.sent == 0


def test_one_that_cannot_be_had_leaves_the_others(hub: FakeHub) -> None:
    sources = {"a: base": MODEL, "a: x": Source("you/exprt"), "a: here": Source("package://clip_mini")}
    found = fetch(sources)
    assert list(found) == list(sources)
    assert isinstance(found["a: base"], Path)
    assert isinstance(found["a: here"], Path)
    assert isinstance(found["a: x"], FusionBenchError)


def test_no_room_is_told_before_a_byte_comes(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": len(BASE) - 1})())
    with pytest.raises(FusionBenchError, match=r"what is missing takes 17 kB and .* has 17 kB free"):
        fetch({"mine: it": MODEL})
    assert hub.sent == 0


def test_a_disk_that_fills_keeps_what_came(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_bench.hub import transfer

    class Full(transfer._Counted):
        def write(self, block: bytes) -> int:
            super().write(block[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_Counted", Full)
        assert refused(MODEL).message == "mine: it: you/base: the disk is full"
    assert partial(MODEL, sha256(BASE)).read_bytes() == BASE[:100]
    brought(MODEL)
    assert "bytes=100-" in {asked for _, _, asked in hub.seen}


def test_a_page_of_a_proxy_in_the_place_of_weights(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.proxy = "files"
    error = refused(MODEL)
    assert error.message == "mine: it: you/base: a page of HTML came in the place of model.safetensors"
    assert not partial(MODEL, sha256(BASE)).exists()
    assert not blob(MODEL, sha256(BASE)).exists()
    hub.proxy = None
    brought(MODEL)


def test_given_up_it_ends(hub: FakeHub) -> None:
    def interrupted(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch({"mine: it": MODEL}, progress=interrupted)
    brought(MODEL)
