"""Hydra composes what the user typed; wrong words are answered with the nearest right ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fusion_bench import registry
from fusion_bench.cases import Case
from fusion_bench.cases.compose import compose, compose_case
from fusion_bench.errors import FusionBenchError


def test_composed_as_the_yaml_says_with_overrides() -> None:
    composed = compose_case(Case("ties", "clip_mini", "mini8", ("algorithm.scaling=0.4",), seed=3, device="cuda"))
    assert composed["algorithm"] == {**registry.read_config("algorithm", "ties"), "scaling": 0.4}
    assert composed["modelpool"] == registry.read_config("modelpool", "clip_mini")
    assert composed["taskpool"] == registry.read_config("taskpool", "mini8")
    assert (composed["seed"], composed["device"]) == (3, "cuda")


def test_the_users_file_hides_the_shipped_one_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "it's mine, = and [yours]"
    (folder / "algorithm").mkdir(parents=True)
    (folder / "algorithm" / "ties.yaml").write_text("type: ties\nkind: merging\nscaling: 0.125\n")
    assert compose(["algorithm=ties"], config_dir=folder)["algorithm"]["scaling"] == 0.125
    assert compose(["algorithm=slerp"], config_dir=folder)["algorithm"]["t"] == 0.5
    assert compose(["algorithm=ties"])["algorithm"]["scaling"] == 1.0


def test_a_root_configuration_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults:\n  - algorithm: ties\n  - modelpool: clip_mini\n  - taskpool: mini8\n  - _self_\n"
        "algorithm:\n  scaling: 0.7\n"
    )
    composed = compose_case(Case("ties", "clip_mini", "mini8"), config_dir=tmp_path, config_name="mine")
    assert composed["algorithm"]["scaling"] == 0.7
    assert (composed["seed"], composed["device"]) == (0, "cpu")  # a root without them gets the case's
    (tmp_path / "half.yaml").write_text("defaults:\n  - algorithm: ties\n")
    with pytest.raises(FusionBenchError, match=r"composes no modelpool or no taskpool"):
        compose([], config_dir=tmp_path, config_name="half")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm=tiez"], "did you mean 'ties'"),
        (["modelpool=clip_mimi"], "did you mean 'clip_mini'"),
        (["algorithm=ties", "algorithm.scalin=0.4"], "did you mean 'scaling'"),
        (["algoritm.scaling=0.4"], "did you mean algorithm"),
        (["sead=3"], "did you mean seed"),
        (["algorithm.scaling=[1"], "cannot be read"),
    ],
)
def test_wrong_words_get_the_nearest_right_ones(overrides: list[str], said: str) -> None:
    with pytest.raises(FusionBenchError, match=said):
        compose(overrides)


def test_an_unknown_root_is_answered_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"(?s)unknown root configuration 'fusionbench'.*fusion_bench"):
        compose([], config_name="fusionbench")


def test_a_program_around_us_keeps_its_own_hydra(tmp_path: Path) -> None:
    from hydra import compose as theirs
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "theirs.yaml").write_text("mine: 1\n")
    with initialize_config_dir(config_dir=str(tmp_path), version_base="1.3"):
        compose(["algorithm=ties"])
        with pytest.raises(FusionBenchError):
            compose(["algorithm=ties", "algorithm.nothing=1"])
        assert theirs("theirs").mine == 1
    assert not GlobalHydra.instance().is_initialized()


def test_composing_leaves_nothing_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose(["algorithm=ties"])
    assert list(tmp_path.iterdir()) == []
    assert "hydra" in sys.modules


@pytest.mark.parametrize("name", ["合併", "it's", "mé thode", "a,b", "x\\y'"])
def test_a_file_may_have_a_name_of_any_script(tmp_path: Path, name: str) -> None:
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / f"{name}.yaml").write_text("type: ties\nkind: merging\nscaling: 0.125\n")
    assert compose_case(Case(name, "clip_mini", "mini8"), config_dir=tmp_path)["algorithm"]["scaling"] == 0.125


def test_a_value_that_hydra_cannot_read_is_named_with_the_quotes_that_it_needs() -> None:
    with pytest.raises(FusionBenchError, match=r"modelpool.path: the value /données/x cannot be read") as error:
        compose(["algorithm=ties", "modelpool.path=/données/x"])
    assert "Lexer" not in str(error.value)
    assert "\"modelpool.path='/données/x'\"" in str(error.value)
    quoted = compose(["algorithm=ties", "modelpool.path='/données/x'"])
    assert quoted["modelpool"]["path"] == "/données/x"
