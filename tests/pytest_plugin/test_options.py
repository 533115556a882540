from __future__ import annotations

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin.options import Options, read, split_names
from tests.pytest_plugin.conftest import QUICK, collect


def test_options_with_common_names_leave_a_conftest_its_own(pytester):
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addoption("--device", default="theirs")
            parser.addoption("--seed", default="also theirs")
        """
    )
    pytester.makepyfile(
        """
        from fusion_bench.pytest_plugin.options import read

        def test_both(pytestconfig):
            assert pytestconfig.getoption("--device") == "tpu"
            assert pytestconfig.getoption("--seed") == "also theirs"
            assert read(pytestconfig).device == "cuda:1"
            assert read(pytestconfig).seed == 7
        """
    )
    result = pytester.runpytest_inprocess("--device", "tpu", "--fb-device", "cuda:1", "--fb-seed", "7")
    result.assert_outcomes(passed=1)


def test_options_of_the_command_line_are_read(project):
    config = project.parseconfig(
        *("--algorithm", "ties,slerp", "--algorithm", "iso_*", "--modelpool", "p", "--taskpool", "t"),
        *("--override", "algorithm.scaling=0.2,0.4", "--override", "algorithm.density=0.1", "--device", "cuda"),
        *("--seed", "3", "--resume", "--save-models", "best", "--tracking-uri", "sqlite:///x.db"),
        *("--fb-config-path", "conf", "--plugin", "mine", "--precision", "bfloat16"),
    )
    assert read(config) == Options(
        algorithms=("ties", "slerp", "iso_*"),
        modelpools=("p",),
        taskpools=("t",),
        overrides=("algorithm.scaling=0.2,0.4", "algorithm.density=0.1"),
        device="cuda",
        precision="bfloat16",
        seed=3,
        resume=True,
        save_models="best",
        tracking_uri="sqlite:///x.db",
        config_dir=project.path / "conf",
        plugins=("mine",),
    )


def test_an_override_without_a_value_is_a_usage_error(project):
    result = collect(project, "--override", "algorithm.scaling")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --override 'algorithm.scaling' names no field and value*"])


def test_a_config_path_that_is_no_folder_is_a_usage_error(project):
    result = project.runpytest_inprocess(*QUICK, "--fb-config-path", "elsewhere", "--algorithm", "ties")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no such folder: *elsewhere"])


def test_an_empty_name_is_refused():
    with pytest.raises(FusionBenchError, match="--algorithm 'ties,' holds an empty name"):
        split_names(["ties,"], option="--algorithm")


def test_a_run_without_cases_shows_nothing_of_us(pytester):
    pytester.makepyfile("def test_theirs(): pass")
    result = pytester.runpytest_inprocess(*QUICK)
    result.assert_outcomes(passed=1)
    shown = [line for line in result.outlines if not line.startswith(("plugins:", "rootdir:", "created:"))]
    assert "fusion" not in "\n".join(shown).lower()
    assert "leaderboard" not in "\n".join(shown)
    result.stdout.fnmatch_lines(["*test_a_run_without_cases*.py .*[[]100%[]]*"])  # pytest's own dots are untouched
