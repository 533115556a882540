"""From names, files and dicts to validated objects, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench import load_algorithm, load_modelpool, load_taskpool, registry
from fusion_bench.errors import FusionBenchError

PLUGIN = """
from pydantic.dataclasses import dataclass
from fusion_bench.algorithms.base import MergingAlgorithm

@dataclass(frozen=True, kw_only=True)
class Mine(MergingAlgorithm):
    factor: float = 1.0

    def prepare(self, scan):
        return lambda piece: self.factor * piece.base
"""


def write(folder: Path, group: str, name: str, text: str) -> Path:
    path = folder / group / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", registry.names("algorithm"))
def test_every_shipped_algorithm_builds_from_its_name(name: str) -> None:
    built = load_algorithm(name)
    assert built.kind == registry.read_config("algorithm", name)["kind"]
    for field, values in registry.read_config("algorithm", name).get("search", {}).items():
        for value in values:
            assert getattr(load_algorithm(name, **{field: value}), field) == value


def test_a_name_a_file_and_a_dict_build_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "algorithm", "mine", "type: ties\nkind: merging\nscaling: 0.4\n")
    expected = load_algorithm("ties", scaling=0.4)
    assert load_algorithm(path) == expected
    assert load_algorithm(str(path)) == expected
    assert load_algorithm({"type": "ties", "scaling": 0.4}) == expected
    assert registry.build("algorithm", "mine", config_dir=tmp_path) == expected


def test_pools_load_from_dicts(toy_assets: Path) -> None:
    pool = load_modelpool({"type": "embedded_clip", "path": str(toy_assets / "models_toy")})
    assert pool.expert_names == ("circles", "stripes")
    tasks = load_taskpool(
        {"type": "zero_shot_classification", "path": str(toy_assets / "tasks_toy"), "tasks": ["stripes"]}
    )
    assert tasks.tasks == ("stripes",)


def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "algorithm", "ties", "type: ties\nkind: merging\nscaling: 0.125\n")
    assert registry.build("algorithm", "ties", config_dir=tmp_path).scaling == 0.125
    assert "slerp" in registry.names("algorithm", config_dir=tmp_path)
    assert load_algorithm("ties").scaling != 0.125


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: ties\nkind: merging\ndensity: much\n", ["density", "'much'", "mine.yaml"]),
        ("type: ties\nkind: merging\ndensity: 1.5\n", ["density", "1.5", "mine.yaml"]),
        ("type: ties\nkind: merging\nscaling: [1, 2]\n", ["scaling", "[1, 2]"]),
        ("type: ties\nkind: merging\ndensty: 0.2\n", ["'densty'", "did you mean 'density'"]),
        ("type: ties\nkind: ensemble\n", ["kind: ensemble", "kind: merging"]),
        ("type: tiez\nkind: merging\n", ["'tiez'", "did you mean 'ties'"]),
        ("kind: merging\n", ["no 'type'", "mine.yaml"]),
        ("type: ties\nscaling: [1, 2\n", ["is not YAML", "line 3", "mine.yaml"]),
        ("- ties\n", ["holds no options", "mine.yaml"]),
        ("", ["holds no options", "mine.yaml"]),
        ("type: ties\n1: 2\n", ["the option 1 is no word"]),
        ("type: os.system\n", ["unknown algorithm type 'os.system'"]),
        ("type: base\n", ["base"]),
    ],
)
def test_bad_yaml_names_the_file_the_field_and_the_nearest(tmp_path: Path, text: str, said: list[str]) -> None:
    path = write(tmp_path, "algorithm", "mine", text)
    with pytest.raises(FusionBenchError) as caught:
        load_algorithm(path)
    for words in said:
        assert words in str(caught.value)


def test_bytes_that_are_no_text_and_missing_files_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, "algorithm", "mine", "")
    path.write_bytes(b"type: \xff\xfe")
    with pytest.raises(FusionBenchError, match="is not YAML"):
        load_algorithm(path)
    with pytest.raises(FusionBenchError, match="no such file"):
        load_algorithm(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(FusionBenchError, match="cannot read"):
        load_algorithm(tmp_path / "folder.yaml")


def test_unknown_names_get_near_ones(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"(?s)unknown algorithm 'task_arithmetics'.*'task_arithmetic'"):
        load_algorithm("task_arithmetics")
    with pytest.raises(FusionBenchError, match="unknown group"):
        registry.names("algorithms")
    with pytest.raises(FusionBenchError, match="no such folder"):
        registry.names("algorithm", config_dir=tmp_path / "nowhere")


def test_a_plugin_file_gives_its_class_and_a_broken_one_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "fb_test_mine.py"
    file.write_text(PLUGIN)
    built = registry.build("algorithm", {"type": "fb_test_mine", "factor": 2}, plugins=[str(file)])
    assert built.factor == 2
    assert registry.resolve_class("algorithm", "fb_test_mine", plugins=[str(file)]) is type(built)

    broken = tmp_path / "fb_test_broken.py"
    broken.write_text("import fb_no_such_module_at_all\n")
    with pytest.raises(FusionBenchError, match="cannot import the plugin"):
        registry.resolve_class("algorithm", "fb_test_broken", plugins=[str(broken)])
    broken.write_text(PLUGIN)  # mended, it loads: the failed try left no half module behind
    assert registry.resolve_class("algorithm", "fb_test_broken", plugins=[str(broken)]).__name__ == "Mine"

    with pytest.raises(FusionBenchError, match="no such file"):
        registry.resolve_class("algorithm", "gone", plugins=[str(tmp_path / "gone.py")])
    (tmp_path / "json.py").write_text(PLUGIN)
    with pytest.raises(FusionBenchError, match="loaded already"):  # never the standard library's json instead
        registry.resolve_class("algorithm", "json", plugins=[str(tmp_path / "json.py")])


def test_a_plugin_with_two_classes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fb_test_two.py"
    file.write_text(PLUGIN + PLUGIN.replace("class Mine", "class Other"))
    with pytest.raises(FusionBenchError, match="defines 2 classes"):
        registry.resolve_class("algorithm", "fb_test_two", plugins=[str(file)])


def test_building_writes_nothing_into_the_callers_dict() -> None:
    source = {"type": "ties", "kind": "merging", "scaling": 0.4}
    before = dict(source)
    registry.build("algorithm", source, overrides={"density": 0.5})
    assert source == before


def test_an_algorithm_whose_options_nobody_checks_is_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "unchecked_method.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from fusion_bench.algorithms.base import MergingAlgorithm\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class UncheckedMethod(MergingAlgorithm):\n"
        "    scaling: float = 0.3\n"
        "    def prepare(self, scan):\n"
        "        return lambda piece: piece.base\n"
    )
    with pytest.raises(FusionBenchError, match=r"(?s)scaling.*no pydantic dataclass.*pydantic.dataclasses"):
        registry.build("algorithm", {"type": "unchecked_method", "scaling": "x"}, plugins=[str(plugin)])


def test_an_unknown_type_names_the_option_for_a_file_of_ones_own() -> None:
    with pytest.raises(FusionBenchError, match=r"--plugin my_method\.py"):
        registry.build("algorithm", {"type": "my_method"})
