"""What the hub says, and each way in which it, or something between, does not."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, check
from tests.helpers.fake_hub import FakeHub, Repository, safetensors, sha256
from tests.hub.conftest import BASE

MODEL = Source("you/base")


def test_what_is_found(hub: FakeHub) -> None:
    found = check(MODEL)
    assert found.commit == hub.models["you/base"].commit
    assert found.files == {"config.json": (2, None), "model.safetensors": (len(BASE), sha256(BASE))}
    assert (found.licence, found.gated, found.bytes) == ("mit", False, len(BASE) + 2)
    assert found.tensors == {"vision_model.w": ("F32", (64, 64)), "text_model.w": ("F32", (8, 8))}


def test_of_large_weights_only_the_header_comes(hub: FakeHub) -> None:
    hub.models["you/large"] = Repository({"model.safetensors": safetensors({"w": (1000, 1000)})})
    check(Source("you/large"))
    assert hub.sent == 100_000


def test_a_long_header_comes_whole(hub: FakeHub) -> None:
    tensors = {f"a.rather.long.name.of.tensor.{number}": (1,) for number in range(2000)}
    hub.models["you/many"] = Repository({"model.safetensors": safetensors(tensors)})
    found = check(Source("you/many")).tensors
    assert found is not None
    assert len(found) == 2000


def test_a_data_set_with_subsets(hub: FakeHub) -> None:
    found = check(Source("you/digits", kind="dataset", subset="large"))
    assert list(found.files) == ["README.md", "large/train-00000-of-00001.parquet"]
    assert found.licence == "own"
    with pytest.raises(FusionBenchError, match="no subset 'smal'") as caught:
        check(Source("you/digits", kind="dataset", subset="smal"))
    assert caught.value.hint == "did you mean small? It has: small, large"


def test_shards_and_their_index(hub: FakeHub) -> None:
    parts = {f"model-0000{n}-of-00002.safetensors": safetensors({f"w{n}": (2,)}) for n in (1, 2)}
    index = {"weight_map": {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}}
    hub.models["you/parts"] = Repository({**parts, "model.safetensors.index.json": json.dumps(index).encode()})
    assert set(check(Source("you/parts")).tensors or ()) == {"w1", "w2"}
    index["weight_map"]["w3"] = "model-00002-of-00002.safetensors"
    hub.models["you/parts"].files["model.safetensors.index.json"] = json.dumps(index).encode()
    with pytest.raises(FusionBenchError, match="lists 'w3', which its shard has not"):
        check(Source("you/parts"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BASE[:-1], "its tensors take 16,640 bytes, the file has 16,639 for them"),
        (b"<!DOCTYPE html>" * 10, "begins as a page of HTML"),
        ((10).to_bytes(8, "little") + b"no json...", "its header cannot be read"),
        (b"", "its header claims 0 bytes"),
    ],
)
def test_a_damaged_file(hub: FakeHub, content: bytes, why: str) -> None:
    hub.models["you/base"].files["model.safetensors"] = content
    with pytest.raises(FusionBenchError, match="is not sound") as caught:
        check(MODEL)
    assert why in caught.value.message


def gated(hub: FakeHub) -> None:
    hub.models["you/base"].gated = True


def elsewhere(hub: FakeHub) -> None:
    hub.models["you/base"].names = ()
    del hub.models["you/base"]
    hub.models["you/other"] = Repository({})


def no_weights(hub: FakeHub) -> None:
    hub.models["you/base"].files = {"config.json": b"{}", "flax_model.msgpack": b""}


def attribute(name: str, value: object) -> Callable[[FakeHub], None]:
    return lambda hub: setattr(hub, name, value)


@pytest.mark.parametrize(
    ("mode", "source", "message", "hint"),
    [
        (gated, MODEL, "it is gated, and no token was given", "accept the licence at {url}/you/base, then: hf"),
        (elsewhere, MODEL, "there is no such model, or it is private", "did you mean you/bass? Look at {url}/you/base"),
        (attribute("x", 0), Source("you/base", "v9"), "it has no revision v9 (any more)", "choose one of {url}/you"),
        (no_weights, MODEL, "it has no weights", "it has: config.json, flax_model.msgpack"),
        (attribute("proxy", "all"), MODEL, "what answers at {url} is not the hub", "a proxy or a log-in page"),
        (attribute("status", 429), MODEL, "the hub asks for fewer requests", "try again in some minutes"),
        (attribute("status", 503), MODEL, "the hub answers with the status 503", "try again later"),
        (attribute("status", 403), MODEL, "the hub refuses access (403)", "hf auth login"),
    ],
    ids=["gated", "wrong id", "revision", "no weights", "proxy", "too many", "down", "forbidden"],
)  # fmt: skip
def test_what_goes_wrong_is_told(
    hub: FakeHub, mode: Callable[[FakeHub], None], source: Source, message: str, hint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("time.sleep", lambda _: None)
    mode(hub)
    with pytest.raises(FusionBenchError) as caught:
        check(source, pool="mine: base", known=["you/bass", "me/expert"])
    assert caught.value.message == f"mine: base: {source.label}: {message.format(url=hub.url)}"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint.format(url=hub.url))


def test_offline_asks_nobody(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FusionBenchError, match="HF_HUB_OFFLINE forbids"):
        check(MODEL)
    assert hub.seen == []


def test_nobody_there(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(FusionBenchError, match=f"{address} cannot be reached") as caught:
        check(MODEL)
    assert caught.value.hint == "fetch it on a machine with network and copy the cache, or name a mirror: HF_ENDPOINT"


def test_a_token_that_is_there_is_sent(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    gated(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    assert check(MODEL).gated
