"""``fusion_bench pools``: with a hub of its own, and for what is told, what is left on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import yaml

from fusion_bench.weights import write_state_dict
from tests.cli.conftest import Command, Outcome
from tests.helpers.fake_hub import FakeHub, safetensors
from tests.hub.conftest import BASE, TOWER, hub

__all__ = ["hub"]  # the fixture


class Pools:
    """``pools("list")``, in a folder with ``config/`` of its own."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def __call__(self, *words: str) -> Outcome:
        return self._command.plain("pools", words[0], "--config-path", "config", *words[1:])

    def write(self, group: str, name: str, **content: object) -> None:
        path = Path("config") / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))


@pytest.fixture
def pools(command: Command, monkeypatch: pytest.MonkeyPatch) -> Pools:
    monkeypatch.setenv("COLUMNS", "80")
    found = Pools(command)
    found.write(
        "modelpool", "mine",
        type="hf_clip", about="Mine.", base="you/base", experts={"circles": "you/expert"}, taskpools=["shapes"],
        published=["a_table"],
    )  # fmt: skip
    tasks = {"circles": {"data": "you/digits", "subset": "small"}}
    found.write("taskpool", "shapes", type="zero_shot_classification", about="Shapes.", tasks=tasks)
    return found


def test_the_list_says_what_is_here(hub: FakeHub, pools: Pools) -> None:
    before = {line.split()[0]: line for line in pools("list").out.splitlines() if line.strip()}
    assert before["mine"].split() == ["mine", "2", "?", "not", "here", "-"]
    assert before["clip_mini"].split()[-2:] == ["shipped", "-"]
    assert hub.seen == []
    assert pools("fetch", "mine").status == 0
    assert pools("check", "mine", "--pin").status == 0
    after = {one["name"]: one for one in json.loads(pools("list", "--format", "json").out)}
    size = len(BASE) + len(TOWER) + len(b"{}") + len(b'{"a": 1}')
    assert after["mine"]["bytes"] == size
    assert (after["mine"]["state"], after["mine"]["licence"]) == ("here", "mit")
    assert (after["shapes"]["state"], after["shapes"]["tasks"]) == ("missing", 1)


def test_a_size_that_the_yaml_expects_is_about(hub: FakeHub, pools: Pools) -> None:
    config = yaml.safe_load(Path("config/modelpool/mine.yaml").read_text())
    pools.write("modelpool", "mine", **config, bytes=3_300_000_000)
    assert "  ~3.3 GB  not here" in pools("list").out
    pools("fetch", "mine")
    assert "~" not in pools("list").out.partition("\nmine ")[2].partition("\n")[0]


def test_the_list_fits_a_terminal(hub: FakeHub, pools: Pools) -> None:
    assert max(map(len, pools("list").out.splitlines())) <= 80


def test_a_broken_pool_leaves_the_others_to_be_listed(hub: FakeHub, pools: Pools) -> None:
    pools.write("modelpool", "broken", type="hf_clip", base="a b")
    done = pools("list")
    assert done.status == 1
    assert "mine" in done.out
    assert done.err.startswith("fusion_bench: modelpool 'broken' (config/modelpool/broken.yaml): base: 'a b' is no id")


def test_show_says_where_it_is_and_what_brings_the_rest(hub: FakeHub, pools: Pools) -> None:
    assert "2 of 2 to be fetched: fusion_bench pools fetch mine --config-path config" in pools("show", "mine").out
    pools("fetch", "mine")
    shown = pools("show", "mine", "--format", "json").json[0]
    assert [(one["role"], one["lacks"], Path(one["folder"]).name) for one in shown["sources"]] == [
        ("base", None, hub.models["you/base"].commit),
        ("circles", None, hub.models["you/expert"].commit),
    ]
    assert shown["published"] == ["a_table"]
    assert "to be fetched" not in pools("show", "mine").out


def test_a_name_that_no_pool_has(hub: FakeHub, pools: Pools) -> None:
    for action in ("show", "check", "fetch"):
        done = pools(action, "mne")
        assert done.status == 2
        assert "unknown pool 'mne'\n  hint: did you mean 'mine'" in done.err


def test_check_finds_all_as_it_should_be(hub: FakeHub, pools: Pools) -> None:
    done = pools("check", "mine", "shapes")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "mine: 2 on the hub, 33 kB; all as it should be",
        "shapes: 1 on the hub, 0 kB; all as it should be",
    ]
    assert not Path("config/pins").exists()


def test_check_tells_a_line_per_problem_and_the_others_go_on(hub: FakeHub, pools: Pools) -> None:
    hub.models["you/base"].gated = True
    del hub.models["you/expert"]
    done = pools("check", "mine", "shapes", "--format", "json")
    assert done.status == 1
    assert [(one["name"], len(one["problems"])) for one in done.json] == [("mine", 2), ("shapes", 0)]
    first, second = done.err.splitlines()
    assert first.startswith("fusion_bench: mine: base: you/base: it is gated, and no token was given (accept the lic")
    assert second.startswith("fusion_bench: mine: circles: you/expert: there is no such model, or it is private (")


def test_check_of_all_is_not_of_names(hub: FakeHub, pools: Pools) -> None:
    assert pools("check").status == 2
    assert pools("check", "mine", "--all").status == 2


def test_another_architecture_is_seen_in_the_headers(hub: FakeHub, pools: Pools) -> None:
    hub.models["you/expert"].files["model.safetensors"] = safetensors({"vision_model.w": (32, 64)})
    done = pools("check", "mine")
    assert done.status == 1
    assert "mine: circles: you/expert does not fit you/base: tensor 'vision_model.w' has shape (32, 64)" in done.err


def test_pins_are_kept_as_lines_and_used(hub: FakeHub, pools: Pools) -> None:
    assert "pins written: config/pins/mine.yaml" in pools("check", "mine", "--pin").out
    text = Path("config/pins/mine.yaml").read_text()
    first = hub.models["you/expert"].commit
    assert text.startswith("# What the hub stated; made by: fusion_bench pools check mine --pin\nmodels:\n  you/base:")
    assert f"  you/expert:\n    commit: {first}\n    files:\n      config.json:\n        bytes: 8\n" in text
    assert "pins written" not in pools("check", "mine", "--pin").out  # nothing is new
    # the repository goes on; what is fetched is what was pinned
    old = dict(hub.models["you/expert"].files)
    hub.models["you/expert"].files["model.safetensors"] = safetensors({"vision_model.w": (64, 64)}, fill=9)
    done = pools("check", "mine")
    assert done.status == 1
    assert f"you/expert@{first[:12]}: it has no revision {first} (any more)" in done.err
    assert pools("check", "mine", "--pin").status == 0
    assert hub.models["you/expert"].commit in Path("config/pins/mine.yaml").read_text()
    hub.models["you/expert"].files = old
    Path("config/pins/mine.yaml").write_text(text)
    assert pools("fetch", "mine").status == 0
    assert pools("show", "mine", "--format", "json").json[0]["sources"][1]["pinned"]


def test_what_cannot_be_fetched_is_told_and_the_rest_comes(hub: FakeHub, pools: Pools) -> None:
    del hub.models["you/expert"]
    done = pools("fetch", "mine", "shapes")
    assert done.status == 1
    assert done.out.splitlines() == ["mine: 1 of 2 not here", "shapes: here"]
    assert done.err.count("fusion_bench: ") == 1
    assert "mine: circles: you/expert: there is no such model" in done.err


def test_what_a_command_makes_is_no_problem(hub: FakeHub, pools: Pools) -> None:
    experts = {"circles": "./runs/circles", "b": "./runs/b"}
    pools.write("modelpool", "mine", type="hf_clip", base="you/base", experts=experts, make="train.sh")
    assert pools("check", "mine").status == 0
    assert "2 of 3 to be made: train.sh" in pools("show", "mine").out
    base = hub.models.pop("you/base")
    done = pools("fetch", "mine")
    assert (done.status, done.out) == (1, "mine: 1 of 3 not here; 2 to be made: train.sh\n")
    hub.models["you/base"] = base
    done = pools("fetch", "mine")
    assert (done.status, done.out) == (0, "mine: 2 of 3 to be made: train.sh\n")
    for path in experts.values():
        Path(path).mkdir(parents=True)
    assert pools("fetch", "mine").out == "mine: here\n"


def test_a_mistyped_path_is_a_problem(hub: FakeHub, pools: Pools) -> None:
    experts = {"circles": "./runs/cirlces"}
    pools.write("modelpool", "mine", type="hf_clip", base="you/base", experts=experts, install="pip install it")
    for action in ("check", "fetch"):
        done = pools(action, "mine")
        assert done.status == 1
        assert done.err.splitlines()[-1].endswith("mine: circles: ./runs/cirlces: no such folder: runs/cirlces")
    assert done.out == "mine: 1 of 2 not here\n"
    assert "to be made" not in pools("show", "mine").out


def model(name: str, rows: int = 4, **more: int) -> str:
    sizes = {"vision_model.w": rows, **more}
    write_state_dict(Path(name) / "model.safetensors", {n: torch.zeros(r, 2) for n, r in sizes.items()})
    return name


def new(pools: Pools, *words: str, base: str = "") -> Outcome:
    return pools("new", "own", "--base", base or model("base", text=3), *words)


def test_a_pool_of_ones_own(hub: FakeHub, pools: Pools) -> None:
    done = new(pools, "--expert", f"circles={model('a')}", "--expert", f"b={model('b', text=3)}", "--about", "Own.")
    assert done.status == 0, done.err
    assert done.out.splitlines()[0] == "config/modelpool/own.yaml: 3 checkpoints that fit each other"
    written = yaml.safe_load(Path("config/modelpool/own.yaml").read_text())
    assert written == {
        "type": "hf_clip",
        "about": "Own.",
        "base": str(Path("base").resolve()),
        "experts": {"circles": str(Path("a").resolve()), "b": str(Path("b").resolve())},
        "taskpools": [],
    }
    assert "own" in pools("list").out
    assert new(pools, "--expert", "circles=a").err.startswith(
        "fusion_bench: config/modelpool/own.yaml is there already"
    )
    assert new(pools, "--expert", "circles=a", "--overwrite").status == 0


def test_its_task_pools_are_those_of_its_experts(hub: FakeHub, pools: Pools) -> None:
    done = new(pools, "--expert", f"circles={model('a')}")
    assert yaml.safe_load(Path("config/modelpool/own.yaml").read_text())["taskpools"] == ["shapes"]
    line = "  pytest bench --modelpool own --taskpool shapes --fb-config-path config"
    assert done.out.splitlines()[1:] == ["run it:", line]


def test_of_ids_that_are_fetched(hub: FakeHub, pools: Pools) -> None:
    done = new(pools, "--expert", "circles=you/expert", base="you/base")
    assert done.status == 2
    assert "base: you/base: it is not in the cache\n  hint: --fetch brings it here" in done.err
    assert not Path("config/modelpool/own.yaml").exists()
    assert new(pools, "--expert", "circles=you/expert", "--fetch", base="you/base").status == 0


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch was_run",)


@pytest.mark.parametrize(("inside", "why"), [(Evil(), ""), (Fraction(1, 2), "an object of fractions.Fraction")])
def test_a_pickle_with_code_in_it_is_refused(hub: FakeHub, pools: Pools, inside: object, why: str) -> None:
    Path("evil").mkdir()
    torch.save({"vision_model.w": torch.zeros(4, 2), "x": inside}, "evil/pytorch_model.bin")
    done = new(pools, "--expert", "circles=evil")
    assert done.status == 2
    assert "evil/pytorch_model.bin: " in done.err
    assert why in done.err
    assert not Path("was_run").exists()
    assert not Path("config/modelpool/own.yaml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--expert", "circles=other"], "tensor 'vision_model.w' has shape (5, 2)"),
        (["--expert", "circles=text"], "has nothing of what pool 'own' fuses"),
        (["--expert", "circles=./gone"], "circles: ./gone: no such folder: gone"),
        (["--expert", "circles"], "--expert circles: no TASK=MODEL"),
        (["--expert", "circles=a", "--expert", "circles=a"], "circles is taken"),
        (["--expert", "circles=a", "--taskpool", "shapez"], "unknown taskpool 'shapez'"),
        (["--expert", "circles=a", "--type", "hf_clp"], "unknown modelpool type 'hf_clp'"),
    ],
    ids=["shape", "no tower", "no folder", "no task", "twice", "task pool", "type"],
)
def test_what_cannot_be_a_pool_is_refused(hub: FakeHub, pools: Pools, words: list[str], message: str) -> None:
    model("a")
    model("other", rows=5)
    write_state_dict(Path("text/model.safetensors"), {"text_model.w": torch.zeros(3, 2)})
    done = new(pools, *words)
    assert done.status == 2
    assert message in done.err
    assert not Path("config/modelpool/own.yaml").exists()


def test_a_process_of_its_own_asks_the_hub_that_its_environment_names(hub: FakeHub, pools: Pools) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fusion_bench", "pools", *words, "--config-path", "config"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = run("fetch", "mine", "shapes")
    assert (done.returncode, done.stdout) == (0, "mine: here\nshapes: here\n"), done.stderr
    assert run("check", "mine").returncode == 0
    hub.proxy = "all"
    done = run("check", "mine")
    assert done.returncode == 1
    assert done.stderr.count(f"what answers at {hub.url} is not the hub") == 2
