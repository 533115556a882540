"""What pools name, pinned or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Source, pinned_config, read_pool, sources_of
from fusion_bench.hub import pins as pinning
from fusion_bench.hub.pins import Pin
from fusion_bench.hub.pool_sources import pools

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def config(folder: Path, group: str, name: str, **content: object) -> Path:
    path = folder / group / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"type": "any", **content}))
    return path


def test_every_shipped_pool_names_what_can_be_understood() -> None:
    found = {name: read_pool(group, name) for group, name in pools()}
    assert {"clip_mini", "mini8", "ta8"} <= set(found)
    for pool in found.values():
        assert pool.about, pool.name
        assert pool.sources, pool.name
        assert {source.kind for source in pool.sources.values()} == {
            "model" if pool.group == "modelpool" else "dataset"
        }
    assert set(found["ta8"].sources) == set(registry.read_config("taskpool", "ta8")["tasks"])


def test_a_path_is_never_an_id() -> None:
    assert sources_of({"path": "nowhere"})["path"].place == "path"
    assert sources_of({"base": "nowhere"})["base"].place == "hub"


def test_what_is_wrong_names_the_place(tmp_path: Path) -> None:
    config(tmp_path, "modelpool", "mine", base="a/b", experts={"mnist": "a b"})
    with pytest.raises(FusionBenchError, match=r"modelpool 'mine' \(.*mine.yaml\): experts.mnist: 'a b' is no id"):
        read_pool("modelpool", "mine", config_dir=tmp_path)


def test_overrides_of_a_case_count(tmp_path: Path) -> None:
    config(tmp_path, "modelpool", "mine", base="a/b", experts={"mnist": "a/c"})
    words = ["modelpool.experts.mnist=a/d", "++modelpool.base={id: a/e, revision: v1}", "algorithm.base=x"]
    found = read_pool("modelpool", "mine", config_dir=tmp_path, overrides=words).sources
    assert found == {"base": Source("a/e", "v1"), "mnist": Source("a/d")}


def test_pins_are_used_where_they_are_of_the_same_revision(tmp_path: Path) -> None:
    path = config(
        tmp_path, "modelpool", "mine",
        base="a/base", experts={"one": "a/one", "two": {"id": "a/two", "revision": "v2"}, "three": "a/three@v1"},
    )  # fmt: skip
    files = {"w.safetensors": (10, "0" * 64), "config.json": (2, None)}
    pins = {
        ("model", "a/base"): Pin(COMMIT, files=files, licence="mit", gated=True),
        ("model", "a/two"): Pin(COMMIT, "v2"),
        ("model", "a/three"): Pin(COMMIT, "v0"),
    }
    assert pinning.write(pinning.path_of(path), pins)
    assert not pinning.write(pinning.path_of(path), pins)
    assert pinning.read(pinning.path_of(path)) == pins
    pool = read_pool("modelpool", "mine", config_dir=tmp_path)
    sums = {"w.safetensors": "0" * 64}
    assert pool.sources["base"] == Source("a/base", COMMIT, bytes=12, sha256=sums, licence="mit", gated=True)
    assert pool.sources["one"] == Source("a/one")
    assert pool.sources["two"].revision == COMMIT
    assert pool.sources["three"].revision == "v1"
    fixed = pinned_config(pool)
    assert fixed["base"] == {"id": "a/base", "revision": COMMIT}
    assert fixed["experts"] == {"one": "a/one", "two": {"id": "a/two", "revision": COMMIT}, "three": "a/three@v1"}
    assert {role: source.revision for role, source in sources_of(fixed).items()} == {
        role: source.revision for role, source in pool.sources.items()
    }


def test_pins_of_tasks_that_cards_describe(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "svhn.yaml").write_text("data: a/svhn\nsubset: digits\n")
    path = config(tmp_path, "taskpool", "mine", tasks=["svhn"], cards=str(tmp_path / "cards"))
    pinning.write(pinning.path_of(path), {("dataset", "a/svhn (digits)"): Pin(COMMIT)})
    pool = read_pool("taskpool", "mine", config_dir=tmp_path)
    assert pool.sources["svhn"].revision == COMMIT
    fixed = pinned_config(pool)
    assert fixed["tasks"] == {"svhn": {"revision": COMMIT}}
    assert sources_of(fixed)["svhn"].revision == COMMIT


def test_pins_of_a_task_with_a_revision_in_its_id(tmp_path: Path) -> None:
    path = config(tmp_path, "taskpool", "mine", tasks={"t": {"data": "a/data@v1"}, "u": {"data": "a/data"}})
    pinning.write(pinning.path_of(path), {("dataset", "a/data"): Pin(COMMIT, "v1")})
    fixed = pinned_config(read_pool("taskpool", "mine", config_dir=tmp_path))
    assert fixed["tasks"] == {"t": {"data": "a/data", "revision": COMMIT}, "u": {"data": "a/data"}}
    assert sources_of(fixed)["t"].revision == COMMIT


@pytest.mark.parametrize(
    "text", ["models: 3", "models: {a/b: {commit: main, files: {}}}", "models: {a/b: {}}", "x: [", "- 1"]
)
def test_damaged_pins_say_so(tmp_path: Path, text: str) -> None:
    path = config(tmp_path, "modelpool", "mine", base="a/b", experts={"one": "a/c"})
    pinning.path_of(path).parent.mkdir()
    pinning.path_of(path).write_text(text)
    with pytest.raises(FusionBenchError, match=r"the pins in .* cannot be read") as caught:
        read_pool("modelpool", "mine", config_dir=tmp_path)
    assert caught.value.hint == "fusion_bench pools check mine --pin writes it anew"


def test_the_same_description_as_the_pool_itself_reads() -> None:
    """Keys that describe a pool are no options of it."""
    assert {"about", "published", "licence"} <= registry.DESCRIPTION


def test_only_a_command_that_makes_makes_what_is_not_here(tmp_path: Path) -> None:
    places = {"base": "a/b", "experts": {"one": str(tmp_path / "gone"), "two": str(tmp_path)}}
    config(tmp_path, "modelpool", "installed", install="pip install it", **places)
    config(tmp_path, "modelpool", "trained", make="train it", install="pip install it", **places)
    installed, trained = (read_pool("modelpool", name, config_dir=tmp_path) for name in ("installed", "trained"))
    assert (installed.install, installed.make, installed.made) == ("pip install it", None, ())
    assert (trained.install, trained.make) == ("pip install it", "train it")
    assert trained.made == (Source(str(tmp_path / "gone")),)  # no id of the hub, nothing that is here
    assert {"make", "install"} <= registry.DESCRIPTION
