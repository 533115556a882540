"""Experts made here are kept with a record of how; what was made otherwise, or cut off, never counts as done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fusion_bench import registry
from fusion_bench.cli import main
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import read_pool
from fusion_bench.zoo import classifiers, cli, dense
from fusion_bench.zoo.classifiers import MAKING, Training
from fusion_bench.zoo.made import RECORD, How, build, descend
from tests.zoo.test_classifiers import LABELS, write_base

SETTINGS = Training(steps=1, batch=2, rate=0.01)
TASKS = list(LABELS)


class Made:
    """``made()``: the experts of a pool in the working folder, which looks for them in ``mine_experts``."""

    config = Path("config")

    def __call__(self, out: str | None = None, **options: Any) -> list[str]:
        lines: list[str] = []
        build(
            MAKING, options.pop("pool", "mine"), None if out is None else Path(out), config_dir=self.config,
            settings=options.pop("settings", SETTINGS), tell=lines.append, **options,
        )  # fmt: skip
        return lines

    def pool(self, name: str = "mine", group: str = "modelpool", **changed: Any) -> None:
        path = self.config / group / f"{name}.yaml"
        old = yaml.safe_load(path.read_text()) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({k: v for k, v in {**old, **changed}.items() if v is not None}))


@pytest.fixture
def made(toy_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    write_base(Path("base"), "resnet")
    found = Made()
    experts = {task: f"./mine_experts/{task}" for task in TASKS}
    found.pool(type="hf_image_classifier", base="./base", experts=experts, taskpools=["tasks"])
    found.pool(
        "tasks", "taskpool", type="image_classification", path=str(toy_assets / "tasks_toy"), tasks=TASKS
    )  # fmt: skip
    return found


def never(*_: object, **__: object) -> None:
    raise AssertionError("it was trained")


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_experts_come_where_the_pool_looks_and_are_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made() == [f"made: mine_experts/{task}" for task in TASKS]
    assert set(read_pool("modelpool", "mine", config_dir=made.config).missing) == set()
    record = json.loads(Path("mine_experts", TASKS[0], RECORD).read_text())
    assert (record["recipe"], record["task"], record["seed"], record["steps"]) == ("mine", TASKS[0], 0, 1)
    assert record["torch"] == torch.__version__
    assert set(record["files"]) == {"config.json", "model.safetensors"}
    before = state(Path("mine_experts"))
    monkeypatch.setattr(classifiers, "train", never)
    assert made() == [f"kept: mine_experts/{task}" for task in TASKS]
    assert state(Path("mine_experts")) == before
    assert sorted(path.name for path in Path("mine_experts").iterdir()) == sorted(TASKS)


def test_the_same_base_elsewhere_is_the_same(made: Made) -> None:
    made()
    Path("base").rename("moved")
    made.pool(base="./moved")
    assert made() == [f"kept: mine_experts/{task}" for task in TASKS]


def another_base(made: Made) -> None:
    config = json.loads(Path("base/config.json").read_text())
    Path("base/config.json").write_text(json.dumps({**config, "added": 1}))


def another_recipe(made: Made) -> None:
    shutil.copy("config/modelpool/mine.yaml", "config/modelpool/other.yaml")


def garbage(made: Made) -> None:
    shutil.rmtree(Path("mine_experts", TASKS[1]))
    Path("mine_experts", TASKS[1]).mkdir()
    Path("mine_experts", TASKS[1], "model.safetensors").write_bytes(b"garbage")


def a_file(made: Made) -> None:
    shutil.rmtree(Path("mine_experts", TASKS[1]))
    Path("mine_experts", TASKS[1]).touch()


def torn(made: Made) -> None:
    Path("mine_experts", TASKS[1], RECORD).write_text('{"recipe": "mi')


def damaged(made: Made) -> None:
    Path("mine_experts", TASKS[1], "model.safetensors").write_bytes(b"garbage")


def emptied(made: Made) -> None:
    Path("mine_experts", TASKS[1], "model.safetensors").unlink()


def nothing(made: Made) -> None:
    """The folders stay as they are."""


@pytest.mark.parametrize(
    ("change", "options", "problem", "folders"),
    [
        (nothing, {"settings": Training(steps=2, batch=2, rate=0.01)}, "steps 1, now 2", 2),
        (nothing, {"seed": 1}, "seed 0, now 1", 2),
        (another_recipe, {"pool": "other"}, "recipe mine, now other", 2),
        (another_base, {}, "another base_hash", 2),
        (lambda made: made.pool(on_mismatch="pad"), {}, "options {}, now {'on_mismatch': 'pad'}", 2),
        (garbage, {}, f"no {RECORD} says how it was made", 1),
        (a_file, {}, f"no {RECORD} says how it was made", 1),
        (torn, {}, f"no {RECORD} says how it was made", 1),
        (damaged, {}, "model.safetensors was changed since", 1),
        (emptied, {}, "model.safetensors was changed since", 1),
    ],
    ids=["steps", "seed", "recipe", "base", "options", "garbage", "file", "torn", "damaged", "emptied"],
)
def test_what_was_made_otherwise_is_refused_before_any_training(
    made: Made, monkeypatch: pytest.MonkeyPatch, change: Callable[[Made], None], options: dict[str, Any], problem: str,
    folders: int,
) -> None:  # fmt: skip
    made()
    change(made)
    before = state(Path("mine_experts"))
    monkeypatch.setattr(classifiers, "train", never)
    wrong = [f"mine_experts/{task}" for task in TASKS[-folders:]]
    with pytest.raises(FusionBenchError) as caught:
        made(**options)
    assert caught.value.message == f"{wrong[0]} is there, and is not what would be made: {problem}"
    assert caught.value.hint == f"give another --out, or remove {', '.join(wrong)}"
    assert state(Path("mine_experts")) == before
    monkeypatch.undo()


def test_other_data_and_other_versions_are_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setattr("fusion_bench.zoo.made.version", lambda name: f"{name} of tomorrow")
    monkeypatch.setattr("fusion_bench.taskpools.labelled.PictureTask.data_hash", lambda *_: "other")
    with pytest.raises(FusionBenchError, match=r": another data; transformers .*, now transformers of tomorrow\n"):
        made()


def test_what_was_cut_off_is_made_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(model: Any, examples: Any, *rest: Any, **more: Any) -> None:
        if examples.task == TASKS[1]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(classifiers, "train", cut)
        with pytest.raises(KeyboardInterrupt):
            made()
    assert [path.name for path in Path("mine_experts").iterdir()] == [TASKS[0]]
    killed = Path("mine_experts", f".{TASKS[1]}.part")  # what a process that was killed leaves
    killed.mkdir()
    (killed / "model.safetensors").write_bytes(b"half")
    Path("mine_experts", TASKS[1]).mkdir()  # empty: nothing that could be lost
    assert made() == [f"kept: mine_experts/{TASKS[0]}", f"made: mine_experts/{TASKS[1]}"]
    assert made() == [f"kept: mine_experts/{task}" for task in TASKS]
    assert not killed.exists()


def test_a_pool_whose_experts_lie_in_no_one_folder_needs_an_out(made: Made) -> None:
    for places in (["./a/circles", "./b/stripes"], ["./a/x", "./a/y"], ["you/circles", "you/stripes"]):
        made.pool(experts=dict(zip(TASKS, places, strict=True)))
        with pytest.raises(FusionBenchError, match="'mine' names no one folder") as caught:
            made()
        assert caught.value.hint == "--out says where to write them"
    assert made("here") == [f"made: here/{task}" for task in TASKS]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("clip_mini", "model pool 'clip_mini' is of type embedded_clip, the recipe is of a HfImageClassifier"),
        ("homeless", "model pool 'homeless' names no task pool"),
        ("odd", "task pool 'mini8' is of type zero_shot_classification, the recipe is of a ImageClassification"),
    ],
)
def test_pools_that_the_recipe_cannot_make(made: Made, pool: str, message: str) -> None:
    same = yaml.safe_load(Path("config/modelpool/mine.yaml").read_text())
    made.pool("homeless", **{**same, "taskpools": None})
    made.pool("odd", **{**same, "taskpools": ["mini8"]})
    with pytest.raises(FusionBenchError) as caught:
        made("out", pool=pool)
    assert caught.value.message == message
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet50_ta8", "--steps", "0"), "--steps 0"),
        (("clip_mini", "--steps", "-3"), "--steps -3"),
        (("minilm_lora", "--steps", "0"), "--steps 0"),
        (("clip_mini", "--workers", "0"), "--workers 0"),
        (("nyuv2_resnet50", "--work", "w"), "nyuv2_resnet50 takes no --work: "),
        (("dinov2_base_ta8", "--workers", "2"), "dinov2_base_ta8 takes no --workers: "),
        (("resnet5_ta8",), "unknown recipe 'resnet5_ta8'"),
    ],
)
def test_what_a_recipe_does_not_take(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["zoo", "build", *words]) == 2
    assert f"fusion_bench: {message}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_training_of_no_step_cannot_be_said() -> None:
    for wrong in ({"steps": 0}, {"batch": 0}, {"rate": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Training(**{"steps": 1, "batch": 1, "rate": 0.1, **wrong})


def test_steps_with_nothing_to_learn_from_are_not_taken() -> None:
    weight = torch.ones(1, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=1.0)
    at: list[float] = []

    def loss_of(rng: np.random.Generator) -> torch.Tensor | None:
        at.append(weight.item())
        return weight.square().sum() if len(at) in (1, 3) else None

    told: list[int] = []
    how = How(Training(steps=5, batch=1, rate=0.1), progress=lambda stage, done, total: told.append(done))
    descend(adam, loss_of, how, task="one")
    assert told == [1, 2, 3, 4, 5]
    assert at[0] > at[1] == at[2] > at[3] == at[4] == weight.item()


def test_every_recipe_is_told_by_its_pool() -> None:
    assert {*dense.RECIPES, *classifiers.RECIPES} == set(cli.EXPERTS)
    for name in cli.EXPERTS:
        fields = registry.read_config("modelpool", name)
        assert fields["make"] == f"fusion_bench zoo build {name}"
        assert "install" not in fields
        (folder,) = {Path(place).parent for place in fields["experts"].values()}
        assert fields["experts"] == {task: f"./{folder}/{task}" for task in fields["experts"]}


def test_the_command_says_what_it_did(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recipe's own pool, in place of which stands a small one."""
    given: dict[str, Any] = {}

    def small(making: Any, pool: str, out: Path | None, **options: Any) -> None:
        given.update(options, pool=pool)
        build(making, "mine", out, **{**options, "settings": SETTINGS, "config_dir": made.config})

    monkeypatch.setattr("fusion_bench.zoo.made.build", small)
    words = ["zoo", "build", "resnet50_ta8", "--steps", "7", "--seed", "3"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [f"made: mine_experts/{task}" for task in TASKS]
    assert (given["pool"], given["settings"].steps, given["settings"].batch, given["seed"]) == (
        "resnet50_ta8",
        7,
        64,
        3,
    )
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [f"kept: mine_experts/{task}" for task in TASKS]
    assert main([*words, "--out", "there"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"made: there/{task}" for task in TASKS]
