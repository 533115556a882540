"""Image classifiers, on tiny random models that transformers saved in the hub's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm, load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.weights import read_state_dict, write_state_dict

KINDS = ("convnext", "resnet", "dinov2", "vit")
LABELS = {"circles": ["small", "large", "none"], "stripes": ["red", "blue"]}
MEAN = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}


def _config(kind: str, **labels: Any) -> Any:
    from transformers import ConvNextConfig, Dinov2Config, ResNetConfig, ViTConfig

    tower = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "image_size": 32}
    if kind == "convnext":
        return ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **labels)
    if kind == "resnet":
        return ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **labels)
    return Dinov2Config(**tower, **labels) if kind == "dinov2" else ViTConfig(**tower, intermediate_size=32, **labels)


def _processor(kind: str) -> Any:
    from transformers import BitImageProcessor, ConvNextImageProcessor, ViTImageProcessor

    if kind in ("convnext", "resnet"):
        return ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875, **MEAN)
    if kind == "dinov2":
        crop = {"height": 32, "width": 32}
        return BitImageProcessor(size={"shortest_edge": 40}, crop_size=crop, **MEAN)
    return ViTImageProcessor(size={"height": 32, "width": 32}, resample=2, **MEAN)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each kind a base, as published: DINOv2 without a head and its prefix, the others with 7 classes."""
    from transformers import AutoModel, AutoModelForImageClassification

    root = tmp_path_factory.mktemp("classifiers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for kind in KINDS:
            whole = AutoModelForImageClassification.from_config(_config(kind, num_labels=7))
            base = AutoModel.from_config(_config(kind)) if kind == "dinov2" else whole
            base.save_pretrained(root / kind / "base")
            _processor(kind).save_pretrained(root / kind / "base")
            for task, labels in LABELS.items():
                named = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
                expert = AutoModelForImageClassification.from_config(_config(kind, **named))
                for name, buffer in expert.named_buffers():
                    if "running_mean" in name:
                        buffer.uniform_(-0.1, 0.1)
                    elif "running_var" in name:
                        buffer.uniform_(0.005, 0.02)
                    elif "num_batches" in name:
                        buffer.fill_(len(labels))
                expert.save_pretrained(root / kind / task)
    return root


def pool(folders: Path, kind: str, **changes: str) -> Any:
    experts = {task: str(folders / kind / task) for task in LABELS} | changes
    return load_modelpool(
        {"type": "hf_image_classifier", "name": "tiny", "base": str(folders / kind / "base"), "experts": experts}
    )


def tasks(toy_assets: Path, **changes: Any) -> Any:
    options = {"type": "image_classification", "path": str(toy_assets / "tasks_toy"), "tasks": list(LABELS)}
    return load_taskpool(options | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_transformers_own(folders: Path, toy_assets: Path, kind: str) -> None:
    from transformers import AutoModelForImageClassification

    mine = pool(folders, kind)
    for task, adapter in tasks(toy_assets, batch_size=5).bind(mine).items():
        theirs = AutoModelForImageClassification.from_pretrained(folders / kind / task).eval()
        found = evaluate(mine.model(task), {task: adapter})[task]
        with torch.inference_mode():
            logits = torch.cat([theirs(pixel_values=batch).logits for batch in adapter.inputs("test")])
            own = torch.cat([adapter.logits(mine.model(task), batch) for batch in adapter.inputs("test")])
        assert own.shape == (24, len(LABELS[task]))
        assert torch.allclose(own, logits, atol=1e-5)
        assert own.std(dim=0).min() > 0
        loss = torch.nn.functional.cross_entropy(logits.double(), adapter.labels("test"), reduction="none")
        assert np.allclose(found.loss, loss.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_prepared_as_transformers_does(folders: Path, toy_assets: Path, kind: str) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor

    from fusion_bench.datasets.sizing import preprocess

    mine, processor = pool(folders, kind), AutoImageProcessor.from_pretrained(folders / kind / "base")
    mean, std = (np.array(values)[:, None, None] for values in (mine.mean, mine.std))
    adapter = tasks(toy_assets).bind(mine)["stripes"]
    ours = torch.cat(list(adapter.inputs("test")))
    pictures = [adapter.picture("test", index).convert("RGB") for index in range(24)]
    theirs = processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert ours.shape == theirs.shape == (24, 3, 32, 32)
    assert (ours - theirs).abs().max() < 1.01 / 255 / 0.2  # a level of grey
    draw = np.random.default_rng(0)
    for size in ((60, 41), (33, 90), (32, 32), (40, 40)):
        picture = Image.fromarray(draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
        square = (preprocess(picture, mine.sizing) / 255 - mean) / std
        wanted = processor(images=picture, return_tensors="pt")["pixel_values"][0].numpy()
        assert np.abs(square - wanted).max() < 1.01 / 255 / 0.2, size


@pytest.mark.parametrize("kind", KINDS)
def test_backbones_are_merged_and_heads_stay(folders: Path, toy_assets: Path, tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForImageClassification

    mine = pool(folders, kind)
    assert not any("classifier" in name for name in mine.state_dict("base"))
    merged = load_algorithm("simple_average").run(mine)
    adapters = tasks(toy_assets).bind(mine)
    for task, adapter in adapters.items():
        one, other = (AutoModelForImageClassification.from_pretrained(folders / kind / t) for t in LABELS)
        state = {}  # the average of the backbones by hand, the head of the task
        for name, tensor in one.state_dict().items():
            second = other.state_dict()[name]
            own = AutoModelForImageClassification.from_pretrained(folders / kind / task).state_dict()[name]
            mean = own if name.startswith("classifier.") or not tensor.is_floating_point() else (tensor + second) / 2
            state[name] = mean
        theirs = AutoModelForImageClassification.from_pretrained(folders / kind / task).eval()
        theirs.load_state_dict(state)
        (batch,) = adapter.inputs("test")
        with torch.inference_mode():
            assert torch.allclose(adapter.logits(merged, batch), theirs(pixel_values=batch).logits, atol=1e-4)
    mine.save(merged, tmp_path)
    again = evaluate(mine.load_saved(tmp_path), adapters)
    for task, found in evaluate(merged, adapters).items():
        assert np.array_equal(again[task].loss, found.loss)
    assert AutoModelForImageClassification.from_pretrained(tmp_path).num_labels in (2, 7)


def test_statistics_of_batch_normalisation(folders: Path) -> None:
    mine = pool(folders, "resnet")
    base, experts = mine.state_dict("base"), [mine.state_dict(task) for task in LABELS]
    merged = load_algorithm("simple_average").run(mine).backbone.state_dict()
    counted = [name for name in base if name.endswith("num_batches_tracked")]
    averaged = [name for name in base if name.endswith(("running_mean", "running_var"))]
    assert len(averaged) == 2 * len(counted) > 0
    for name in averaged:
        assert torch.allclose(merged[name], (experts[0][name] + experts[1][name]) / 2)
    for name in counted:
        assert merged[name].dtype == torch.int64
        assert [int(state[name]) for state in experts] == [3, 2]
        assert int(merged[name]) == int(base[name]) == 0


def test_a_variance_below_zero_counts_as_zero(folders: Path, toy_assets: Path) -> None:
    mine = pool(folders, "resnet")
    state = {name: tensor.clone() for name, tensor in mine.state_dict("stripes").items()}
    for name in state:
        if name.endswith("running_var"):
            state[name][0] = -3.0
    model = mine.build(state)
    kept = model.backbone.state_dict()
    for name, tensor in state.items():
        expected = tensor.clamp(min=0) if name.endswith("running_var") else tensor
        assert torch.equal(kept[name], expected)
    found = evaluate(model, {"stripes": tasks(toy_assets).bind(mine)["stripes"]})
    assert np.isfinite(found["stripes"].loss).all()


def test_a_case_runs_through_both(folders: Path, toy_assets: Path, tmp_path: Path) -> None:
    from fusion_bench.cases import Session, matrix, run_case

    experts = {task: str(folders / "convnext" / task) for task in LABELS}
    files: dict[str, dict[str, Any]] = {
        "modelpool": {
            "type": "hf_image_classifier",
            "base": str(folders / "convnext" / "base"),
            "experts": experts,
            "taskpools": ["heads"],
        },
        "taskpool": {
            "type": "image_classification",
            "path": str(toy_assets / "tasks_toy"),
            "tasks": list(LABELS),
        },
    }
    for group, name in (("modelpool", "tiny"), ("taskpool", "heads")):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(yaml.safe_dump(files[group]))
    chosen = {"modelpools": ["tiny"], "taskpools": ["heads"], "config_dir": tmp_path}
    with Session(config_dir=tmp_path, tracking_uri="") as session:
        for case in matrix(algorithms=["simple_average", "experts"], **chosen):
            result = run_case(case, session)
            assert set(result.tasks) == set(LABELS)
            assert 0 <= result.metrics["accuracy/mean"] <= 1
            if case.algorithm == "experts":
                assert result.metrics["normalized/mean"] in (1, pytest.approx(1))


def test_a_task_without_an_expert_or_with_other_classes_is_refused(
    folders: Path, toy_assets: Path, tmp_path: Path
) -> None:
    import shutil

    only = load_modelpool(
        {
            "type": "hf_image_classifier",
            "base": str(folders / "vit" / "base"),
            "experts": {"stripes": str(folders / "vit" / "stripes")},
        }
    )
    with pytest.raises(FusionBenchError, match="unknown task 'circles'"):
        tasks(toy_assets).bind(only)
    swapped = pool(folders, "vit", stripes=str(folders / "vit" / "circles"))
    adapter = tasks(toy_assets).bind(swapped)["stripes"]
    with pytest.raises(FusionBenchError, match="'stripes' names 2 classes, the expert's head has 3"):
        evaluate(swapped.model("base"), {"stripes": adapter})
    shutil.copytree(folders / "vit" / "stripes", tmp_path / "turned")
    config = json.loads((tmp_path / "turned" / "config.json").read_text())
    config["id2label"] = {"0": "blue", "1": "red"}
    (tmp_path / "turned" / "config.json").write_text(json.dumps(config))
    turned = pool(folders, "vit", stripes=str(tmp_path / "turned"))
    with pytest.raises(FusionBenchError, match=r"'red', which the expert's head has at label 1"):
        evaluate(turned.model("base"), {"stripes": tasks(toy_assets).bind(turned)["stripes"]})


def test_a_backbone_without_a_head_and_a_head_of_another_size(folders: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("bare", "wider"):
        shutil.copytree(folders / "vit" / "stripes", tmp_path / name)
        file = tmp_path / name / "model.safetensors"
        state = read_state_dict(file)
        if name == "bare":
            state = {key: value for key, value in state.items() if not key.startswith("classifier.")}
        else:
            state["classifier.weight"] = torch.zeros(5, 16)
        write_state_dict(file, state)
    with pytest.raises(FusionBenchError, match=r"has no head: no tensor 'classifier\.weight'"):
        pool(folders, "vit", stripes=str(tmp_path / "bare")).head("stripes")
    with pytest.raises(FusionBenchError, match=r"\(5, 16\), and its config.json says \(2, 16\)"):
        pool(folders, "vit", stripes=str(tmp_path / "wider")).head("stripes")


def test_pools_that_do_not_fit_say_so(folders: Path, toy_assets: Path) -> None:
    clip = load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})
    with pytest.raises(FusionBenchError, match="head of the task; those of model pool 'toy' compare"):
        tasks(toy_assets).bind(clip)
    zero_shot = tasks(toy_assets, type="zero_shot_classification")
    with pytest.raises(FusionBenchError, match="those of model pool 'tiny' score classes of images"):
        zero_shot.bind(pool(folders, "vit"))


def test_a_processor_that_makes_no_squares_and_one_of_an_old_version(folders: Path, tmp_path: Path) -> None:
    from fusion_bench.modelpools.processor import FILE, read_processor

    old = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3, **MEAN}
    (tmp_path / FILE).write_text(json.dumps({**old, "do_resize": True, "do_normalize": True}))
    found = read_processor(tmp_path, label="old")
    assert (found.sizing.side, found.sizing.shorter, found.sizing.warped) == (224, 256, False)
    assert found.mean == tuple(MEAN["image_mean"])
    (tmp_path / FILE).write_text(json.dumps({**old, "size": 384}))
    assert read_processor(tmp_path, label="old").sizing.warped
    (tmp_path / FILE).write_text(json.dumps({**old, "do_normalize": False}))
    assert read_processor(tmp_path, label="old").std == (1.0, 1.0, 1.0)
    for wrong in ({"do_resize": False}, {"do_rescale": False}):
        (tmp_path / FILE).write_text(json.dumps({**old, **wrong}))
        with pytest.raises(FusionBenchError, match="makes no squares of one size"):
            read_processor(tmp_path, label="old")
    (tmp_path / FILE).write_text("<html>")
    with pytest.raises(FusionBenchError, match="cannot read"):
        read_processor(tmp_path, label="old")
    (tmp_path / FILE).unlink()
    with pytest.raises(FusionBenchError, match=f"old has no {FILE}"):
        read_processor(tmp_path, label="old")


def test_the_processor_counts_in_the_content_hash(folders: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folders / "vit", tmp_path / "vit")
    before = pool(folders, "vit").content_hash()
    assert pool(tmp_path, "vit").content_hash() == before
    path = tmp_path / "vit" / "base" / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.4", "0.45"))
    assert pool(tmp_path, "vit").content_hash() != before


def test_the_published_pool_is_read_without_its_models() -> None:
    from fusion_bench.hub import read_pool

    found = read_pool("modelpool", "convnext_base_ta8")
    data = read_pool("taskpool", "ta8_classification")
    assert found.sources["base"].id == "facebook/convnext-base-224"
    assert set(found.sources) == {"base", *data.sources}
    assert len(found.sources) == 9
    mine, theirs = load_modelpool("convnext_base_ta8"), load_taskpool("ta8_classification")
    assert mine.expert_names == theirs.tasks
