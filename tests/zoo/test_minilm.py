"""The text pool: what ships, and the recipe's readers and splits on a few made-up lines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fusion_bench.datasets import Manifest, locate, open_split
from fusion_bench.zoo.minilm import TASKS, TextRecipe, Texts, readers
from fusion_bench.zoo.minilm.splits import SPLITS, deal, split_of

NAMES = [task.name for task in TASKS]


@pytest.fixture(scope="module", params=NAMES)
def task(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    folder = locate("package://text6") / request.param
    return request.param, {name: open_split(folder, name, column="text") for name in SPLITS}


def test_everything_is_small_and_verifies() -> None:
    total = 0
    for pool in ("minilm_lora", "text6"):
        manifest = Manifest.read(f"package://{pool}")
        assert "LICENSES.md" in manifest.files
        total += sum(manifest.path(name).stat().st_size for name in manifest.files)
        present = {p.relative_to(manifest.folder).as_posix() for p in manifest.folder.rglob("*") if p.is_file()}
        assert present == {*manifest.files, "manifest.json"}
    assert total < 6e6


def test_sizes_labels_and_names(task) -> None:  # type: ignore[no-untyped-def]
    name, splits = task
    card = json.loads((locate("package://text6") / name / "task.json").read_text())
    assert splits["test"].size >= 500
    assert splits["validation"].size >= 100
    assert {split: part.size for split, part in splits.items()} == card["texts"]
    assert splits["adaptation"].labels is None
    for split in ("train", "test"):
        assert set(splits[split].labels.tolist()) == set(range(len(card["classes"])))
        assert list(splits[split].classes) == card["classes"]
    most = max(Counter(splits["test"].labels.tolist()).values()) / splits["test"].size
    assert most < 0.6  # no class is the answer to nearly everything


def test_no_text_and_no_cluster_is_in_two_splits(task) -> None:  # type: ignore[no-untyped-def]
    _, splits = task
    for each in ([set(part.texts()) for part in splits.values()], [set(p.clusters.tolist()) for p in splits.values()]):
        assert sum(map(len, each)) == len(set().union(*each))


def test_a_wording_is_in_one_split_in_every_task_that_has_it() -> None:
    home: dict[str, str] = {}
    for name in ("nouns", "verbs", "topics"):
        for split in SPLITS:
            for text in open_split(locate("package://text6") / name, split, column="text").texts():
                assert home.setdefault(text.casefold(), split) == split


def test_the_adapters_are_on_queries_and_values_and_name_no_machine() -> None:
    for name in [*NAMES, "multitask"]:
        config = json.loads((locate("package://minilm_lora") / "models" / name / "adapter_config.json").read_text())
        assert config["target_modules"] == ["query", "value"]
        assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
        assert (config["r"], config["lora_alpha"]) == (TextRecipe().rank, TextRecipe().alpha)


def test_readers(tmp_path: Path) -> None:
    wordnet, emoji = tmp_path / "usr/share/wordnet", tmp_path / "usr/share/unicode/emoji"
    wordnet.mkdir(parents=True)
    emoji.mkdir(parents=True)
    (tmp_path / "vaderSentiment").mkdir()
    (wordnet / "data.noun").write_text(
        "  1 This software\n"
        "00000001 04 n 01 law 0 000 | the collection of rules\n"
        '00000002 10 n 02 writ 0 warrant 0 002 @ 00000001 n 0000 ;c 00000001 n 0000 | (law) a legal document; "one"\n'
        "00000003 10 n 01 thing 0 000 | short\n"
    )
    (wordnet / "data.verb").write_text(
        "00000004 32 v 01 sue 0 001 ;c 00000001 n 0000 01 + 08 00 | bring an action against\n"
    )
    for part in ("adj", "adv"):
        (wordnet / f"data.{part}").write_text("")
    rows = readers.topics(tmp_path)
    assert [(row.text, row.key) for row in rows] == [
        ("a legal document", "law"), ("bring an action against", "law"),
    ]  # fmt: skip
    assert [row.key for row in readers.nouns(tmp_path)] == ["04", "10"]
    (tmp_path / "vaderSentiment/vader_lexicon.txt").write_text(
        "good\t1.9\t0.9\t[]\n:)\t2.0\t1\t[]\nmeh\t-0.3\t1\t[]\nawful\t-2.0\t1\t[]\n"
    )
    assert [(row.text, row.key) for row in readers.sentiment(tmp_path)] == [("good", "positive"), ("awful", "negative")]
    (emoji / "emoji-test.txt").write_text(
        "# group: People & Body\n1F44B ; fully-qualified # X E0.6 waving hand\n"
        "1F44B 1F3FB ; fully-qualified # X E1.0 waving hand: light skin tone\n1F44B ; unqualified # X E0.6 hand\n"
    )
    assert [(row.text, row.key) for row in readers.emoji(tmp_path)] == [("waving hand", "People & Body")]


def test_whole_clusters_are_dealt_and_cut_to_size() -> None:
    texts = Texts(
        tuple(map(str, range(600))), tuple(i % 3 for i in range(600)), tuple(f"c{i // 2}" for i in range(600))
    )
    dealt = deal(texts, {"train": 100, "validation": 20, "adaptation": 30, "test": 50}, seed=0)
    assert {name: len(part) for name, part in dealt.items()} == {
        "train": 100, "validation": 20, "adaptation": 30, "test": 50,
    }  # fmt: skip
    for name, part in dealt.items():
        assert all(split_of(cluster, 0) == name for cluster in part.clusters)
    assert dealt == deal(texts, {"train": 100, "validation": 20, "adaptation": 30, "test": 50}, seed=0)
