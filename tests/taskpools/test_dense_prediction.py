"""Segmentation, depth and normals: by hand from torchvision's maps, in the hub's format, and as whole cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from sklearn.metrics import jaccard_score

from fusion_bench.cases import Case, CaseResult, Session, run_case
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool
from fusion_bench.report.leaderboard import leaderboards
from fusion_bench.taskpools.evaluate import evaluate
from tests.helpers.tiny_dense import ENCODER, TASKS, encoder, head, maps_of, scenes, write_models, write_scenes

N = 9


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rooms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_BENCH_MODELS", str(folder))
        write_models(folder)
        write_scenes(folder / "tanganke" / "nyuv2", {"train": 20, "val": N})
        yield folder


@pytest.fixture(scope="module")
def pool(root: Path) -> Any:
    return load_modelpool(fields_of_pool(root))


def fields_of_pool(root: Path) -> dict[str, Any]:
    experts = {task: str(root / task) for task in TASKS}
    return {"type": "dense_resnet", "name": "tiny", "base": str(root / "base"), "experts": experts, "encoder": ENCODER}


def fields_of_tasks(**changes: Any) -> dict[str, Any]:
    """The shipped cards, for scenes of three classes."""
    tasks: dict[str, Any] = {task: {"test_size": None} for task in TASKS}
    tasks["segmentation"]["classes"] = ["red", "green", "blue"]
    for task, fields in changes.pop("of", {}).items():
        tasks[task] |= fields
    return {"type": "dense_prediction", "name": "rooms", "cards": "package://dense_tasks", "tasks": tasks, **changes}


def tasks(pool: Any, **changes: Any) -> Any:
    return load_taskpool(fields_of_tasks(**changes)).bind(pool)


def by_hand(task: str, written: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the expert's own head says of every pixel, and the truth."""
    seed = TASKS.index(task) + 1
    body, images = encoder(seed), torch.from_numpy(written["image"])
    with torch.inference_mode():
        found = maps_of(body, images)
        small = head({"segmentation": 3, "depth": 1, "normal": 3}[task], seed)(found)
        large = F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=True)
    return large.double().numpy(), written[task]


def test_metrics_are_those_of_torchvisions_maps(root: Path, pool: Any) -> None:
    written = scenes(N, seed=1)  # the second split that was written
    adapters = tasks(pool, batch_size=4)
    found = {task: evaluate(pool.model(task), adapters, tasks=[task])[task] for task in TASKS}

    said, true = by_hand("segmentation", written)
    kept = true >= 0
    said = said.argmax(1)
    assert found["segmentation"].value == pytest.approx(
        jaccard_score(true[kept], said[kept], average="macro", labels=np.union1d(true[kept], said[kept])), abs=1e-4
    )
    assert found["segmentation"].extra["pixel_accuracy"] == pytest.approx((said == true)[kept].mean(), abs=1e-4)

    said, true = by_hand("depth", written)
    kept = true > 0
    off = np.abs(said - true)[kept]
    assert found["depth"].extra["absolute_error"] == pytest.approx(off.mean(), rel=1e-4)
    assert found["depth"].extra["relative_error"] == pytest.approx((off / true[kept]).mean(), rel=1e-4)
    assert found["depth"].extra["rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-4)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(said > 0, np.maximum(said / true, true / said), np.inf)[kept]
    shares = [(ratio < 1.25**power).mean() for power in (1, 2, 3)]
    assert 0.05 < shares[0] < shares[1] < shares[2] < 0.99
    depth = found["depth"]
    assert [depth.value, depth.extra["delta2"], depth.extra["delta3"]] == pytest.approx(shares, abs=1e-3)

    said, true = by_hand("normal", written)
    kept = (true != 0).any(1)
    cosine = (said * true).sum(1) / np.linalg.norm(said, axis=1) / np.maximum(np.linalg.norm(true, axis=1), 1e-9)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))[kept]
    assert found["normal"].extra["mean_angle"] == pytest.approx(angle.mean(), rel=1e-4)
    assert found["normal"].extra["median_angle"] == pytest.approx(np.median(angle), abs=0.1)
    shares = [(angle < limit).mean() for limit in (11.25, 22.5, 30.0)]
    assert 0.005 < shares[0] < shares[1] < shares[2] < 0.99
    normal = found["normal"]
    assert [normal.value, normal.extra["within_22.5"], normal.extra["within_30"]] == pytest.approx(shares, abs=1e-3)
    assert [p.metric for p in found.values()] == ["miou", "delta1", "within_11.25"]


def test_the_size_of_a_batch_decides_nothing(pool: Any) -> None:
    model = load_algorithm("simple_average").run(pool)
    several = [evaluate(model, tasks(pool, batch_size=size)) for size in (1, 4, 64)]
    for task in TASKS:
        for other in several[1:]:
            assert np.allclose(several[0][task].score, other[task].score, atol=2e-2)
            assert several[0][task].value == pytest.approx(other[task].value, abs=2e-3)


def test_a_whole_case_is_logged_with_errors_beside_shares(root: Path, tmp_path: Path) -> None:
    for group, name, fields in (("modelpool", "tiny", fields_of_pool(root)), ("taskpool", "rooms", fields_of_tasks())):
        (tmp_path / group).mkdir()
        del fields["name"]
        (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(fields))
    with Session(config_dir=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db") as session:
        made = run_case(Case("simple_average", "tiny", "rooms"), session)
        alone = {name: run_case(Case(name, "tiny", "rooms"), session) for name in ("pretrained", "experts")}
    metrics = made.metrics
    for name in ("miou/segmentation", "delta1/depth", "within_11.25/normal", "rmse/depth", "median_angle/normal"):
        assert np.isfinite(metrics[name]), name
    mean = np.mean([metrics["miou/segmentation"], metrics["delta1/depth"], metrics["within_11.25/normal"]])
    assert metrics["accuracy/mean"] == pytest.approx(mean)
    assert not any(name.startswith("loss") for name in metrics)
    for name, case in alone.items():  # what is measured along with a case is what a case of its own measures
        assert made.reference_measures[name] == {key: case.metrics[key] for key in made.reference_measures[name]}
        assert {"miou/segmentation", "rmse/depth", "median_angle/normal"} <= made.reference_measures[name].keys()
    along = {row.name: row.measures for row in leaderboards([made.to_dict()])[0].rows}
    assert along == {
        row.name: row.measures for row in leaderboards(map(CaseResult.to_dict, [made, *alone.values()]))[0].rows
    }
    assert "rmse/depth" in along["pretrained"]


def test_splits_pictures_and_hashes(pool: Any) -> None:
    adapters = tasks(pool)
    depth = adapters["depth"]
    assert [depth.size(split) for split in ("train", "validation", "adaptation", "test")] == [16, 2, 2, N]
    picture = depth.picture("test", N - 1)
    assert picture.size == (48, 32)
    first = next(iter(depth.inputs("test")))
    assert first.shape == (8, 3, 32, 48)
    with pytest.raises(FusionBenchError, match="no example 9"):
        depth.picture("test", N)
    hashes = {adapters[task].data_hash(split) for task in TASKS for split in ("test", "validation", "adaptation")}
    assert len(hashes) == 9


def test_heads_of_other_maps_are_refused_when_bound(pool: Any) -> None:
    with pytest.raises(FusionBenchError, match="'segmentation' asks for 2 classes a pixel, the head of its expert in"):
        tasks(pool, of={"segmentation": {"classes": ["a", "b"]}})
    with pytest.raises(FusionBenchError, match="'depth' asks for 3 channels a pixel"):
        tasks(pool, of={"depth": {"kind": "normal", "column": "normal"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": {"column": "metres"}}, "no column 'metres', which 'depth' is made of"),
        ({"depth": {"column": "normal"}}, "column 'normal' of tanganke/nyuv2 holds torch.float32 of shape"),
        ({"segmentation": {"column": "depth"}}, "whole numbers"),
        ({"depth": {"test_size": 654}}, "has 9 test examples, 'depth' was written for 654"),
        ({"depth": {"splits": {"test": "test"}}}, "has no split 'test'"),
        ({"depth": {"image_column": "depth"}}, "pictures are"),
    ],
)
def test_data_that_is_not_what_the_card_was_written_for(pool: Any, change: Any, message: str) -> None:
    (task,) = change
    with pytest.raises(FusionBenchError) as caught:
        evaluate(pool.model("base"), tasks(pool, of=change), tasks=[task])
    assert message in str(caught.value)


def changed(root: Path, column: str, values: np.ndarray) -> Path:
    """The test split with other values in a column, as a folder."""
    from datasets import Dataset

    made = {**scenes(len(values), seed=1), column: values}
    Dataset.from_dict({name: list(array) for name, array in made.items()}).to_parquet(root / "test.parquet")
    return root


@pytest.mark.parametrize(
    ("task", "column", "values", "message"),
    [
        ("depth", "depth", np.full((3, 1, 32, 48), np.nan), "column 'depth' of .* holds values that are not finite"),
        ("normal", "normal", np.full((3, 3, 32, 48), np.inf), "column 'normal' of .* holds values that are not finite"),
        ("depth", "image", np.full((3, 3, 32, 48), 200), "holds torch.int64 from 200 to 200"),
        ("depth", "image", np.full((3, 3, 32, 48), 200.0), "holds torch.float64 from 200 to 200"),
        ("depth", "depth", np.zeros((3, 1, 32, 48)), r"'depth' \(test\): fewer than two pictures have labelled pixels"),
        ("segmentation", "segmentation", np.full((3, 32, 48), 255), "a pixel is labelled 255, and there are 3 classes"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    pool: Any, tmp_path: Path, task: str, column: str, values: np.ndarray, message: str
) -> None:
    data = str(changed(tmp_path, column, values))
    of = {task: {"data": data, "revision": None, "splits": {}}}
    with pytest.raises(FusionBenchError, match=message):
        evaluate(pool.model("base"), tasks(pool, of=of), tasks=[task])


def test_bytes_are_pictures_and_another_label_can_stand_for_none(pool: Any, tmp_path: Path) -> None:
    pixels = (scenes(3, seed=1)["image"] * 255).round().astype(np.uint8)
    data = str(changed(tmp_path, "image", pixels))
    of = {"segmentation": {"data": data, "revision": None, "splits": {}}}
    found = evaluate(pool.model("segmentation"), tasks(pool, of=of), tasks=["segmentation"])["segmentation"]
    labels = scenes(3, seed=1)["segmentation"]
    (tmp_path / "other").mkdir()
    other = str(changed(tmp_path / "other", "segmentation", np.where(labels < 0, 255, labels).astype(np.uint8)))
    of["segmentation"] |= {"data": other, "ignored": 255}
    again = evaluate(pool.model("segmentation"), tasks(pool, of=of), tasks=["segmentation"])["segmentation"]
    assert found.value == pytest.approx(again.value, abs=0.02)  # pictures in bytes are rounded
    assert 0.05 < found.value < 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": {"depth": {"ignored": 255}}}, "depth has no labels to ignore"),
        ({"of": {"segmentation": {"classes": None}}}, "at least two classes"),
        ({"of": {"depth": {"classes": ["a", "b"]}}}, "depth has no classes"),
        ({"of": {"depth": {"kind": "dept"}}}, "kind"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_that_cannot_be(change: Any, message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        load_taskpool(fields_of_tasks(**change))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_outputs_that_are_no_numbers_are_told(pool: Any, task: str, value: float) -> None:
    broken = pool.build({name: tensor.clone() for name, tensor in pool.model("base").state_dict().items()})
    broken.conv1.weight.data[0, 0, 0, 0] = value
    with pytest.raises(FusionBenchError, match=f"outputs are not finite for 9 of 9 examples of {task}"):
        evaluate(broken, tasks(pool), tasks=[task])


def test_models_that_make_no_maps_are_refused(toy_assets: Path) -> None:
    other = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})
    with pytest.raises(FusionBenchError, match="needs models that predict a map of every picture"):
        tasks(other)


def test_ensembles_have_nothing_to_combine(pool: Any) -> None:
    with pytest.raises(FusionBenchError, match="no logits of members to combine"):
        evaluate(load_algorithm("simple_ensemble").run(pool), tasks(pool))
