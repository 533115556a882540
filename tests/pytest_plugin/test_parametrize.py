from __future__ import annotations

import sys
import time

import pytest

from fusion_bench.cases import Case
from fusion_bench.pytest_plugin.parametrize import near_names, selection_line
from tests.pytest_plugin.conftest import ALGORITHM, collect, write_yaml

ZZ = ("--algorithm", "zz_*")


def ids(result: pytest.RunResult) -> list[str]:
    return [line.split("[", 1)[1].removesuffix("]>") for line in result.outlines if "<Function test_fusion[" in line]


def test_ids_name_algorithm_pool_and_tasks(project):
    result = collect(project, "--algorithm", "zz_ties,zz_plain", "--modelpool", "toy_*")
    assert ids(result) == [
        "zz_ties-toy_one-toy_tasks",
        "zz_plain-toy_one-toy_tasks",
        "zz_ties-toy_two-toy_tasks",
        "zz_plain-toy_two-toy_tasks",
    ]


def test_k_is_the_family_and_algorithm_is_exact(project):
    family = collect(project, *ZZ, "-k", "zz_ties or zz_dare_ties")
    assert sorted(ids(family)) == ["zz_dare_ties-toy_one-toy_tasks", "zz_ties-toy_one-toy_tasks"]
    assert ids(collect(project, "--algorithm", "zz_ties")) == ["zz_ties-toy_one-toy_tasks"]


def test_header_says_what_was_selected_and_how_to_have_one(project):
    write_yaml(project, "algorithm", "zz_ties_b", ALGORITHM.format(kind="merging", more=""))
    result = collect(project, *ZZ, "-k", "zz_ties")
    text = " ".join(" ".join(result.outlines).split())
    assert (
        "fusion_bench: selected 2 algorithms: zz_ties, zz_ties_b; 1 model pool: toy_one; 1 task pool: toy_tasks" in text
    )
    assert "only this one: --algorithm zz_ties" in text


def test_an_override_makes_a_case_per_value_and_combination(project):
    result = collect(project, "--algorithm", "zz_ties", "--override", "algorithm.scaling=0.2,0.4", "--seed", "3")
    assert ids(result) == [
        "zz_ties[scaling=0.2,seed=3]-toy_one-toy_tasks",
        "zz_ties[scaling=0.4,seed=3]-toy_one-toy_tasks",
    ]


def test_a_wrong_name_ends_the_session_with_the_nearest(project):
    result = collect(project, "--algorithm", "zz_tiez")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: unknown algorithm 'zz_tiez'", "*did you mean 'zz_ties'*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize("expression", ["zz_tiez", "zz-ties"])
def test_k_that_matches_nothing_is_told_the_nearest(project, expression):
    result = collect(project, *ZZ, "-k", expression)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines([f"fusion_bench: -k '{expression}' matches no case; near: zz_ties*"])


def test_m_that_matches_nothing_lists_what_there_is(project):
    result = collect(project, "--algorithm", "zz_ties,zz_plain", "-m", "network")
    result.stdout.fnmatch_lines(["fusion_bench: -m 'network' matches no case; algorithms: zz_plain, zz_ties"])


def test_marks_by_kind_and_by_need_also_for_needs_only_a_yaml_names(project):
    assert ids(collect(project, *ZZ, "-m", "ensemble")) == ["zz_plain-toy_one-toy_tasks"]
    assert ids(collect(project, *ZZ, "-m", "reference")) == ["zz_bound-toy_one-toy_tasks"]
    assert ids(collect(project, *ZZ, "-m", "gpu")) == ["zz_needy-toy_one-toy_tasks"]
    assert ids(collect(project, *ZZ, "-m", "moonlight")) == ["zz_needy-toy_one-toy_tasks"]


def test_a_broken_yaml_is_one_line_naming_the_file(project):
    write_yaml(project, "algorithm", "zz_broken", "type: [ties\n")
    result = project.runpytest_inprocess("--fb-config-path", "conf", "--collect-only")
    assert "zz_broken.yaml is not YAML" in " ".join(result.outlines)
    assert "Traceback" not in result.stdout.str()
    assert "site-packages" not in result.stdout.str()


def test_a_projects_own_case_is_left_alone(pytester):
    pytester.makepyfile(
        test_theirs="""
        import pytest

        @pytest.mark.parametrize("case", [1, 2])
        def test_marked(case):
            assert case in (1, 2)
        """,
        test_others="""
        import pytest

        @pytest.fixture
        def case():
            return "mine"

        @pytest.fixture
        def algorithm(case):
            return case

        def test_fixture(case, algorithm):
            assert case == algorithm == "mine"
        """,
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=3)
    assert "fusion_bench:" not in result.stdout.str()


def test_collecting_2000_cases_takes_under_2_seconds(project):
    for i in range(2000):
        write_yaml(project, "algorithm", f"many_{i:04d}", ALGORITHM.format(kind="merging", more=""))
    start = time.perf_counter()
    result = collect(project, "--algorithm", "many_*", "-q")
    seconds = time.perf_counter() - start
    result.stdout.fnmatch_lines(["2000 tests collected*"])
    assert seconds < 2.0


def test_collecting_imports_nothing_heavy(project):
    project.makeconftest(
        """
        def pytest_unconfigure():
            import sys
            heavy = {"torch", "mlflow", "pandas", "transformers", "open_clip", "matplotlib", "rich", "numpy"}
            print("heavy:", sorted(heavy & set(sys.modules)))
        """
    )
    result = project.run(
        sys.executable, "-m", "pytest", "-p", "no:hydra_pytest", "-p", "no:hypothesispytest", "--collect-only",
        "--fb-config-path", "conf", "--modelpool", "toy_one",
    )  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(["heavy: []"])


def test_long_lists_are_cut_and_counted():
    cases = [Case(f"a{i:02d}", "p", "t") for i in range(12)]
    assert "12 algorithms: a00, a01, a02, a03, a04, a05, a06, a07 and 4 more;" in selection_line(cases)
    assert selection_line(cases[:1]).endswith("(1 case)")


def test_near_names_leave_out_words_that_match_something():
    cases = [Case("ties", "clip_mini", "mini8"), Case("slerp", "clip_mini", "mini8")]
    assert near_names("ties and slerq", cases) == ["slerp"]
    assert near_names("xyzzy", cases) == []
