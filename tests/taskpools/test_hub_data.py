"""Data sets in the hub's own layout: Parquet shards, a card with configurations, class names as features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from fusion_bench.datasets.splits import open_split
from fusion_bench.datasets.stored import held_out_parts, stored_sums
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.cards import with_cards
from fusion_bench.registry import load_modelpool, load_taskpool, names, read_config
from fusion_bench.taskpools.labelled.classes import check_order

CLASSES = ["AnnualCrop", "Forest", "Sea_Lake"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets as ``push_to_hub`` leaves them, found through the environment."""
    from datasets import ClassLabel, Dataset, Features, Image

    folder = tmp_path / "owner" / "crops"
    draw = np.random.default_rng(0)
    features = Features({"image": Image(), "label": ClassLabel(names=CLASSES)})
    for split, size in (("train", 60), ("test", 21)):
        pictures = [draw.integers(0, 255, (40, 30, 3), dtype=np.uint8) for _ in range(size)]
        data = Dataset.from_dict({"image": pictures, "label": [i % 3 for i in range(size)]}, features=features)
        for shard in range(2 if split == "train" else 1):
            count = 2 if split == "train" else 1
            path = folder / "digits" / f"{split}-{shard:05d}-of-{count:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            data.shard(count, shard, contiguous=True).to_parquet(path)
    files = [{"split": s, "path": f"digits/{s}-*"} for s in ("train", "test")]
    card = {"configs": [{"config_name": "digits", "data_files": files}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_split_of_the_hubs_layout(hub: Path) -> None:
    split = open_split("owner/crops", "test", subset="digits")
    assert split.size == 21
    assert split.classes == tuple(CLASSES)
    assert split.labels is not None
    assert split.labels.tolist() == [i % 3 for i in range(21)]
    assert split.picture(3).size == (30, 40)


def test_parts_of_the_training_split_are_splits(hub: Path) -> None:
    shares = {"validation": 0.1, "adaptation": 0.2}
    parts = {
        name: open_split("owner/crops", name, subset="digits", held_out=shares)
        for name in ("train", "validation", "adaptation", "test")
    }
    assert {name: part.size for name, part in parts.items()} == {
        "train": 42, "validation": 6, "adaptation": 12, "test": 21,
    }  # fmt: skip
    assert parts["adaptation"].labels is None
    assert parts["validation"].labels is not None
    seen = [np.asarray(parts[n].picture(i)).tobytes() for n in ("train", "validation", "adaptation")
            for i in range(parts[n].size)]  # fmt: skip
    assert len(set(seen)) == 60


def test_held_out_parts_are_disjoint_and_whole() -> None:
    parts = held_out_parts(1000, {"validation": 0.1, "adaptation": 0.05})
    joined = np.concatenate(list(parts.values()))
    assert sorted(joined.tolist()) == list(range(1000))
    assert len(joined) == 1000
    again = held_out_parts(1000, {"validation": 0.1, "adaptation": 0.05})
    assert all((parts[name] == again[name]).all() for name in parts)
    for wrong in ({"validation": 1.0}, {"validation": 0.6, "adaptation": 0.5}, {"validation": -0.1}):
        with pytest.raises(FusionBenchError, match="below 1"):
            held_out_parts(1000, wrong)
    with pytest.raises(FusionBenchError, match="is none"):
        held_out_parts(3, {"validation": 0.1})


@pytest.fixture
def toy_clip(toy_assets: Path):  # type: ignore[no-untyped-def]
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


def task(**changes: object) -> dict[str, object]:
    return {
        "data": "owner/crops", "subset": "digits", "classes": ["annual crop", "forest", "sea lake"],
        "held_out": {"validation": 0.1, "adaptation": 0.1}, **changes,
    }  # fmt: skip


def bound(pool, **changes: object):  # type: ignore[no-untyped-def]
    return load_taskpool({"type": "zero_shot_classification", "tasks": {"crops": task(**changes)}}).bind(pool)["crops"]


def test_names_and_sizes_that_are_not_what_the_yaml_was_written_for(hub: Path, toy_clip) -> None:  # type: ignore[no-untyped-def]
    adapter = bound(toy_clip, test_size=21)
    assert len(adapter.labels("test")) == 21
    assert adapter.classes == ("annual crop", "forest", "sea lake")
    with pytest.raises(FusionBenchError, match="21 test examples, 'crops' was written for 20"):
        bound(toy_clip, test_size=20).size("test")
    with pytest.raises(FusionBenchError, match="class 0 of 'crops' is 'forest', which owner/crops has at label 1"):
        bound(toy_clip, classes=["forest", "annual crop", "sea lake"]).size("test")
    with pytest.raises(FusionBenchError, match="names 2 classes, owner/crops has 3"):
        bound(toy_clip, classes=["forest", "annual crop"]).size("test")
    with pytest.raises(FusionBenchError, match="no column 'picture'"):
        bound(toy_clip, column="picture").size("test")
    with pytest.raises(FusionBenchError, match="no Parquet file of letters"):
        bound(toy_clip, subset="letters").size("test")


def test_the_hash_is_of_the_files(hub: Path, toy_clip) -> None:  # type: ignore[no-untyped-def]
    first = {split: bound(toy_clip).data_hash(split) for split in ("train", "validation", "test")}
    assert len(set(first.values())) == 3
    assert first == {split: bound(toy_clip).data_hash(split) for split in first}
    path = next((hub / "owner" / "crops" / "digits").glob("test-*"))
    path.write_bytes(path.read_bytes() + b" ")
    assert bound(toy_clip).data_hash("test") != first["test"]


def test_every_card_is_complete_and_every_pool_of_cards_is_read() -> None:
    from fusion_bench.datasets import locate

    cards = sorted(path.stem for path in locate("package://image_tasks").glob("*.yaml"))
    assert len(cards) == 20
    for name, card in with_cards(cards, "package://image_tasks", where="all").items():
        assert len(card["classes"]) >= 2, name
        assert all(isinstance(c, str) for c in card["classes"]), name
        assert len(set(card["classes"])) == len(card["classes"]), name
        assert all("{}" in template for template in card["templates"]), name
        assert set(card["held_out"]) == {"validation", "adaptation"}, name
    with_card = [name for name in names("taskpool") if "cards" in read_config("taskpool", name)]
    assert {"ta8", "tall14", "tall20", "ta8_unseen_a", "ta8_unseen_b", "ta4_corrupted"} <= set(with_card)
    for name in with_card:
        if name != "ta4_corrupted":  # needs a library that may not be here
            assert load_taskpool(name).tasks


def test_cards_that_are_not_there() -> None:
    with pytest.raises(FusionBenchError, match="sun397"):
        with_cards(["sun379"], "package://image_tasks", where="mine")
    with pytest.raises(FusionBenchError, match="no cards"):
        with_cards(["a"], "package://nothing_here", where="mine")
    with pytest.raises(FusionBenchError, match="list of names"):
        with_cards("mnist", "package://image_tasks", where="mine")


def test_names_of_a_data_set_that_say_nothing_are_no_error() -> None:
    check_order(["zero", "one"], ["0", "1"], task="digits", data="owner/digits")
    check_order(["crab", "bed"], ["cra", "bed"], task="things", data="owner/things")


def test_a_test_split_under_the_name_of_one_that_is_held_out(hub: Path, toy_clip) -> None:  # type: ignore[no-untyped-def]
    """As Food-101 has it: its test split is called validation, ours is cut out of the training split."""
    folder = hub / "owner" / "crops" / "digits"
    (test,) = folder.glob("test-*")
    test.rename(folder / test.name.replace("test", "validation"))
    card = (hub / "owner" / "crops" / "README.md").read_text()
    (hub / "owner" / "crops" / "README.md").write_text(card.replace("test", "validation"))
    adapter = bound(toy_clip, splits={"test": "validation"}, test_size=21)
    assert {split: adapter.size(split) for split in ("train", "validation", "adaptation", "test")} == {
        "train": 48, "validation": 6, "adaptation": 6, "test": 21,
    }  # fmt: skip
    assert len({adapter.data_hash(split) for split in ("train", "validation", "test")}) == 3


def test_the_columns_that_a_yaml_names_are_in_the_hash(hub: Path, toy_clip) -> None:  # type: ignore[no-untyped-def]
    plain = bound(toy_clip).data_hash("test")
    named = {bound(toy_clip, **{key: value}).data_hash("test") for key in ("column", "label_column")
             for value in ("image", "other")}  # fmt: skip
    assert len(named | {plain}) == 5


def test_sums_are_of_the_files_that_the_card_names(hub: Path) -> None:
    folder = hub / "owner" / "crops"
    (folder / "digits").rename(folder / "data")
    card = folder / "README.md"
    card.write_text(card.read_text().replace("digits/", "data/"))
    found = stored_sums("owner/crops", subset="digits")
    assert found is not None
    assert len(found) == 3
    path = next((folder / "data").glob("test-*"))
    path.write_bytes(path.read_bytes() + b" ")
    again = stored_sums("owner/crops", subset="digits")
    assert again is not None
    assert len(set(found) & set(again)) == 2


def test_no_file_to_sum_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=f"data set {tmp_path} has no Parquet file"):
        stored_sums(str(tmp_path))


def test_a_revision_in_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for number, revision in enumerate(("v1", "main")):
        folder = tmp_path / "datasets--own--set"
        snapshot = folder / "snapshots" / (str(number) * 40)
        for made in (snapshot, folder / "refs"):
            made.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(str(number) * 40)
        texts = pa.table({"text": ["a"] * (number + 1), "label": [0] * (number + 1)})
        pq.write_table(texts, snapshot / "test-00000-of-00001.parquet")
    assert open_split("own/set@v1", "test", column="text").size == 1
    assert open_split("own/set", "test", column="text").size == 2
    assert stored_sums("own/set@v1") == stored_sums("own/set", revision="v1") != stored_sums("own/set")
    with pytest.raises(FusionBenchError, match="two revisions: v1 and main"):
        open_split("own/set@v1", "test", column="text", revision="main")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat", "dog"], r"column 'label' holds (large_)?string, no whole numbers"),
        ([0, None], r"1 of 2 labels in column 'label' \(int64\) are null"),
        ([0.0, 1.5], "column 'label' holds double, no whole numbers"),
    ],
)
def test_labels_that_are_no_numbers_of_classes(tmp_path: Path, labels: list[object], message: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / "test.parquet")
    with pytest.raises(FusionBenchError, match=message):
        open_split(tmp_path, "test", column="text")


@pytest.mark.parametrize("labels", [[True, False], [1.0, 0.0], [1, 0]])
def test_labels_that_are_numbers(tmp_path: Path, labels: list[object]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("test", "train"):
        pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / f"{name}.parquet")
    found = open_split(tmp_path, "test", column="text").labels
    assert found is not None
    assert (found.tolist(), found.dtype) == ([1, 0], np.int64)
    pq.write_table(pa.table({"text": ["a"], "label": pa.nulls(1, pa.int64())}), tmp_path / "test.parquet")
    assert open_split(tmp_path, "test", column="text").labels is None
