"""Several models in the sub-folders of one repository, as RoBERTa's experts lie: each is its own folder and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, check, fetch, local, missing
from fusion_bench.hub.pins import key, pinned
from fusion_bench.hub.pool_sources import read_pool
from tests.helpers.fake_hub import FakeHub, Repository

POOL = read_pool("modelpool", "roberta_base_glue")
EXPERTS = {task: source for task, source in POOL.sources.items() if task != "base"}
OWN = ("config.json", "merges.txt", "pytorch_model.bin", "tokenizer.json", "vocab.json")


def weights(task: str) -> bytes:
    return f"PK weights of {task}".encode() * (1 + len(task))


@pytest.fixture
def released(hub: FakeHub) -> FakeHub:
    files = {"README.md": b"---\nlicense: mit\n---\n", ".gitattributes": b""}
    for task, source in EXPERTS.items():
        beside = {name: f"{name} of {task}".encode() for name in OWN if not name.endswith(".bin")}
        own = {**beside, "pytorch_model.bin": weights(task), "training_args.bin": b"PK code"}
        files |= {f"{source.subfolder}/{name}": content for name, content in own.items()}
    (repository,) = {source.id for source in EXPERTS.values()}
    hub.models[repository] = Repository(files, card={"license": "mit"})
    return hub


def test_the_eight_are_of_one_repository_and_of_eight_folders() -> None:
    assert len(EXPERTS) == len({source.subfolder for source in EXPERTS.values()}) == 8
    assert len({key(source) for source in EXPERTS.values()}) == 8


@pytest.mark.parametrize("task", EXPERTS)
def test_what_is_checked_of_one_is_its_own(released: FakeHub, task: str) -> None:
    found = check(EXPERTS[task])
    folder = EXPERTS[task].subfolder
    assert sorted(found.files) == [f"{folder}/{name}" for name in OWN]
    assert found.licence == "mit"
    assert released.sent == 0
    fixed = pinned(EXPERTS[task], {key(EXPERTS[task]): found.pin})
    assert (fixed.revision, fixed.bytes) == (found.commit, found.bytes)
    assert list(fixed.sha256) == [f"{folder}/pytorch_model.bin"]


def test_two_of_them_come_and_no_others_then_the_rest(released: FakeHub) -> None:
    two = {task: EXPERTS[task] for task in ("mrpc", "cola")}
    assert fetch(two) == {task: local(source) for task, source in two.items()}
    assert released.sent == sum(len(weights(task)) for task in two)
    for task, source in EXPERTS.items():
        here = local(source)
        if task in two:
            assert here is not None
            assert sorted(path.name for path in here.iterdir()) == list(OWN)
            assert (here / "pytorch_model.bin").read_bytes() == weights(task)
        else:
            assert here is None
            assert missing(source) == f"half of it is in the cache: it has no folder {source.subfolder}"
    fetch(EXPERTS)
    assert released.sent == sum(len(weights(task)) for task in EXPERTS)  # what was there did not come again
    for task, source in EXPERTS.items():
        here = local(source)
        assert here is not None
        assert (here / "config.json").read_bytes() == f"config.json of {task}".encode()


def test_a_folder_that_is_not_there_leaves_the_others_to_come(released: FakeHub) -> None:
    source = EXPERTS["mrpc"]
    wrong = Source(source.id, subfolder="mrpc/roberta-base_lr9e-05")
    found = fetch({"mine: mrpc": wrong, "mine: cola": EXPERTS["cola"]})
    assert isinstance(found["mine: cola"], Path)
    error = found["mine: mrpc"]
    assert isinstance(error, FusionBenchError)
    assert "mrpc/roberta-base_lr9e-05" in error.message
    assert "it has no folder" in error.message
    assert "mrpc/roberta-base_lr5e-05" in str(error.hint)
