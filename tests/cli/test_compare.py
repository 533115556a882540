"""``fusion_bench compare``, ``list`` and ``baseline`` as typed, on a store with runs that differ in known ways."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.cli import main
from fusion_bench.metrics.seeds import seeded_difference, seeded_mean
from fusion_bench.tracking import Store, locate_store
from tests.helpers.results import make_result, right
from tests.helpers.stored_runs import store_run
from tests.tracking.conftest import empty_database  # noqa: F401 - a fixture

BETTER = {"a": right(400, 0.9), "b": right(300, 0.5)}


SOURCES = {"a": np.arange(400) // 8}
OLD: dict = {"clusters": SOURCES, "session": "dare 3"}


def drawn(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {task: np.arange(n) / n + 0.05 * rng.standard_normal(n) < 0.7 for task, n in (("a", 400), ("b", 300))}


@pytest.fixture(scope="module")
def uri(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811
    folder = tmp_path_factory.mktemp("compared")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = Store(locate_store(f"sqlite:///{folder}/mlflow.db"))
    runs = [
        (make_result(), {"session": "old"}),
        (make_result(correct=BETTER, commit="beef01"), {"session": "new", "clusters": {"a": np.arange(400) // 8}}),
        (make_result(label="slerp"), {"session": "old"}),
        (make_result(label="slerp", commit="beef01"), {"session": "new"}),
        (make_result(label="other", data={"a": "x", "b": "d"}), {}),
        (make_result(label="alien", data={"a": "x", "b": "x"}), {}),
        (make_result(label="[red]<b>'é\""), {}),
        ({key: v for key, v in make_result(drawn(3), label="dare", seed=3).items() if key != "clusters"}, OLD),
        *((make_result(drawn(seed), label="dare", seed=seed), {"session": f"dare {seed}"}) for seed in range(3)),
    ]
    runs[-4][0]["seedless"] = "other code"
    for seed in range(3):
        runs[seed - 3][0]["metrics"]["rmse/a"] = float(seed)
    for rmse, angle in ((0.5, 30.0), (0.25, 30.41)):
        made = make_result(label="measured")
        made["metrics"] |= {"rmse/a": rmse, "acc_stderr/a": 0.1, "mean_angle/b": angle, "rmse/elsewhere": 1.0}
        runs.insert(0, (made, {"session": "measured"}))
    runs[0], runs[1] = runs[1], runs[0]
    for number, (result, options) in enumerate(runs):
        store_run(store, result, folder / str(number), **options)
    return store.location.uri


@pytest.fixture
def typed(uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*words, "--tracking-uri", uri])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_two_runs(typed) -> None:
    status, out, _ = typed("compare", "ties", "ties@1")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("A  ties  (")
    (a,) = [line for line in lines if line.startswith("a ")]
    assert a.split()[:4] == ["a", "90.0", "75.0", "+15.00"]
    assert "60 / 0" in a
    assert a.rstrip().endswith("*")
    (b,) = [line for line in lines if line.startswith("b ")]
    assert "0 / 0" in b
    assert not b.rstrip().endswith("*")
    assert "counted together in: a" in out


def test_numbers_as_json_are_those_of_the_metrics(typed) -> None:
    from fusion_bench.metrics.paired import paired_difference

    _, out, _ = typed("compare", "ties", "ties@1", "--json", "--independent")
    lines = {line["name"]: line for line in json.loads(out)["lines"]}
    first, second = BETTER, {"a": right(400, 0.75), "b": right(300, 0.5)}
    expected = paired_difference(first, second)
    mean = lines["mean"]
    assert (mean["difference"], mean["low"], mean["high"]) == (expected.difference, expected.low, expected.high)
    assert mean["p_value"] <= 3 * expected.p_value
    assert lines["a"]["difference"] == pytest.approx(0.15)
    assert sum(lines[task]["difference"] for task in "ab") / 2 == pytest.approx(mean["difference"])


def test_other_measures_stand_below_with_their_difference_and_no_test(typed) -> None:
    _, out, _ = typed("compare", "measured", "measured@1")
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("other measures"))
    assert [line.split() for line in lines[start + 1 :]] == [
        ["rmse/a,", "m", "↓", "0.2500", "0.5000", "-0.2500"],
        ["mean_angle/b,", "°", "↓", "30.41", "30.00", "+0.41"],
    ]
    _, out, _ = typed("compare", "measured", "measured@1", "--json")
    found = json.loads(out)["measures"]
    assert found[0] == {"name": "rmse/a", "first": 0.25, "second": 0.5, "difference": -0.25}
    assert "other measures" not in typed("compare", "ties", "ties@1")[1]


def test_of_seeds_other_measures_are_the_means(typed) -> None:
    _, out, _ = typed("compare", "dare", "measured", "--json")
    assert json.loads(out)["measures"] == [{"name": "rmse/a", "first": 1.0, "second": 0.25, "difference": 0.75}]


def test_two_sessions(typed) -> None:
    status, out, _ = typed("compare", "session:new", "session:old")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("ties", "slerp"))] == ["slerp", "ties"]
    assert "1 of 2 differences are significant" in out


def test_tasks_of_other_examples_are_left_out_and_named(typed) -> None:
    _, out, err = typed("compare", "ties", "other")
    assert "a: left out, the two were evaluated on other examples" in err
    assert not any(line.startswith("a ") for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "ties", "alien"), "share no task with the same examples"),
        (("compare", "ties", "tiez"), "did you mean 'ties'"),
        (("compare", "session:new", "other"), "A and B have no case in common"),
        (("baseline", "accept", "ties"), "accept needs a reason"),
        (("baseline", "accept", "--because", "x"), "accept needs a case"),
        (("baseline", "diff", "--baselines", "none"), "none of these runs has a baseline"),
        (("baseline", "show", "--baselines", "none"), "no baselines below none"),
    ],
)
def test_mistakes_are_answered(typed, words, said: str) -> None:
    status, _, err = typed(*words)
    assert status == 2
    assert said in err


def test_listing(typed) -> None:
    _, out, _ = typed("list")
    assert out.splitlines()[0].strip() == "p/t"
    assert "[red]<b>'é\"" in out
    assert len(out.splitlines()) == 2 + 8  # three of dare's seeds are one line
    _, out, _ = typed("list", "--all", "--limit", "6")
    assert len(out.splitlines()) == 2 + 6
    _, out, _ = typed("list", "ties", "--all")
    assert len(out.splitlines()) == 2 + 2
    assert typed("list", "--limit", "-3")[0] == 2
    _, out, _ = typed("list", "sessions")
    assert {"old", "new", "s1"} < {line.split()[0] for line in out.splitlines()[1:]}


def test_seeds_of_a_method_are_one_line_and_its_runs_one_by_one_when_asked(typed) -> None:
    _, out, _ = typed("list", "dare")
    expected = seeded_mean([drawn(seed) for seed in range(3)])
    (line,) = out.splitlines()[2:]
    assert line.split()[:5] == ["3", "seeds", "dare", f"{100 * expected.mean:.1f}", span(expected)]
    _, out, _ = typed("list", "dare", "--all")
    assert sum("dare[seed=" in line for line in out.splitlines()) == 4


def span(found) -> str:
    return f"{100 * found.low:.1f}–{100 * found.high:.1f}"


def test_a_method_with_seeds_against_another(typed) -> None:
    status, out, _ = typed("compare", "dare", "slerp")
    assert status == 0
    slerp = {"a": right(400, 0.75), "b": right(300, 0.5)}
    expected = seeded_difference([drawn(seed) for seed in range(3)], slerp)
    mean = next(line for line in out.splitlines() if line.startswith("mean "))
    low, high = (f"{100 * end:+.2f}" for end in (expected.low, expected.high))
    assert mean.split()[3:7] == [f"{100 * expected.difference:+.2f}", low, "to", high]
    assert out.splitlines()[0].startswith("A  dare, mean of 3 seeds  (")
    assert f"by {100 * expected.seed_deviations[0]:.2f} and 0.00" in out
    _, out, _ = typed("compare", "dare", "slerp", "--json")
    lines = {line["name"]: line for line in json.loads(out)["lines"]}
    assert lines["mean"]["p_value"] >= expected.p_value
    one = seeded_difference([{"a": drawn(seed)["a"]} for seed in range(3)], {"a": slerp["a"]})
    assert (lines["a"]["low"], lines["a"]["high"]) == (one.low, one.high)


def test_one_seed_against_another_is_a_pair_of_runs(typed) -> None:
    _, out, _ = typed("compare", "dare[seed=0]", "dare[seed=1]")
    assert out.splitlines()[0].startswith("A  dare[seed=0]  (")
    assert "only A / B" in out


def test_sources_are_read_from_predictions_where_an_older_report_has_none(typed) -> None:
    _, out, _ = typed("compare", "dare[seed=3]", "dare[seed=1]")
    assert "counted together in: a" in out


def test_baselines_from_runs(typed, tmp_path: Path) -> None:
    where = ("--baselines", str(tmp_path))
    assert typed("baseline", "update", "ties@1", "slerp", *where)[0] == 0
    status, out, _ = typed("baseline", "show", *where)
    assert [line.split()[0] for line in out.splitlines()] == ["slerp-p-t", "ties-p-t"]
    status, out, _ = typed("baseline", "diff", *where)
    assert status == 1  # deterministic, and it changed: better or not, somebody must say that it is right
    assert "ties-p-t is not what it was in its baseline" in out
    assert "1 of 2 as before" in out
    assert typed("baseline", "accept", "ties", "--because", "a better trim", *where)[0] == 0
    status, out, _ = typed("baseline", "diff", *where)
    assert (status, out.strip()) == (0, "2 of 2 as before")
    _, out, _ = typed("baseline", "show", "ties", *where)
    assert "accepted" in out
    assert "(0.6250 before): a better trim" in out
    assert "  a         90.0   30.0   90.0       400" in out.splitlines()


def test_an_update_of_what_measured_the_same_leaves_the_file(typed, tmp_path: Path) -> None:
    where = ("--baselines", str(tmp_path))
    typed("baseline", "update", "slerp@1", *where)
    (path,) = tmp_path.rglob("*.json")
    before = path.read_bytes()
    _, out, _ = typed("baseline", "update", "slerp", *where)
    assert "as before" in out
    assert path.read_bytes() == before


def test_a_check_that_cannot_run_says_so_to_git(typed, tmp_path: Path, capsys) -> None:
    where = ("--baselines", str(tmp_path))
    typed("baseline", "update", "slerp", *where)
    assert main(["baseline", "check", "slerp", *where]) == 125  # its pools are not here
    assert main(["baseline", "check", "nothing", *where]) == 125


def test_comparing_imports_neither_torch_nor_mlflow(uri: str) -> None:
    code = (
        "import sys; from fusion_bench.cli import main; main(sys.argv[1:]);"
        "print([n for n in ('torch', 'mlflow', 'statsmodels', 'scipy.stats') if n in sys.modules])"
    )
    words = ["compare", "ties", "slerp", "--tracking-uri", uri]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
