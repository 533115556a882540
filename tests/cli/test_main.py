"""The command from words to reports, runs and exit status."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from fusion_bench.cases import Case, Session, run_case
from tests.cli.conftest import Command

RAISING = """
from pydantic.dataclasses import dataclass
from fusion_bench.algorithms.base import MergingAlgorithm

@dataclass(frozen=True, kw_only=True)
class Raising(MergingAlgorithm):
    def prepare(self, scan):
        raise RuntimeError("boom in the plugin")
"""


def test_one_case_prints_and_saves_its_report_and_leaves_a_run(command: Command, tmp_path: Path) -> None:
    done = command("algorithm=simple_average")
    assert done.status == 0, done.err
    assert done.json["case"]["id"] == "simple_average-toy-toy2"
    assert json.loads((tmp_path / "outputs" / "simple_average-toy-toy2.json").read_text()) == done.json
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]  # no litter beside it
    from mlflow import MlflowClient

    run = MlflowClient(command.uri).get_run(done.json["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.source.name"].startswith("fusion_bench modelpool=toy")


def test_it_runs_what_run_case_runs(command: Command, toy_config: Path) -> None:
    done = command("algorithm=ties", "algorithm.scaling=0.4", "seed=3")
    case = Case("ties", "toy", "toy2", ("algorithm.scaling=0.4",), seed=3)
    with Session(config_dir=toy_config, tracking_uri="") as session:
        expected = run_case(case, session)
    assert done.json["fingerprint"] == expected.fingerprint
    same = [name for name in expected.metrics if not name.startswith("cost/")]
    assert {name: done.json["metrics"][name] for name in same} == {name: expected.metrics[name] for name in same}


def test_a_report_goes_where_it_is_asked_for(command: Command, tmp_path: Path) -> None:
    done = command("algorithm=pretrained", "--report", "deep/er/report.json")
    assert json.loads((tmp_path / "deep" / "er" / "report.json").read_text()) == done.json
    assert not (tmp_path / "outputs").exists()


def test_a_report_that_cannot_be_written_is_told_before_work(command: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for place in ("taken/report.json", "."):
        done = command("algorithm=pretrained", "--report", place)
        assert (done.status, done.out) == (2, "")
        assert "cannot write" in done.err
        assert "accuracy" not in done.err


def test_a_sweep_is_one_json_array_and_a_report_each(command: Command, tmp_path: Path) -> None:
    done = command("-m", "algorithm=ties,task_arithmetic", "algorithm.scaling=0.2,0.4", "--report", "all.json")
    assert done.status == 0, done.err
    ids = [report["case"]["id"] for report in done.json]
    assert ids == [f"{name}[scaling={x}]-toy-toy2" for name in ("ties", "task_arithmetic") for x in (0.2, 0.4)]
    assert json.loads((tmp_path / "all.json").read_text()) == done.json
    assert len(list((tmp_path / "outputs").iterdir())) == 4
    assert "circles" in done.err  # the leaderboard, for people


def test_a_case_that_raises_fails_its_run_and_the_others_go_on(
    command: Command, toy_config: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "conf"
    shutil.copytree(toy_config, folder)
    (folder / "algorithm").mkdir()
    (folder / "algorithm" / "raising.yaml").write_text("type: fb_test_raising\nkind: merging\n")
    (tmp_path / "fb_test_raising.py").write_text(RAISING)
    words = ["--plugin", "fb_test_raising.py", "--tracking-uri", command.uri, "--config-path", str(folder)]
    pools = ["modelpool=toy", "taskpool=toy2"]
    done = command.plain("-m", "algorithm=raising,pretrained", *pools, *words)
    assert done.status == 1
    assert [report["case"]["algorithm"] for report in done.json] == ["pretrained"]
    assert "boom in the plugin" in done.err

    alone = command.plain("algorithm=raising", *pools, *words)
    assert (alone.status, alone.out) == (1, "")
    assert "marked FAILED" in alone.err
    from mlflow import MlflowClient

    client = MlflowClient(command.uri)
    experiment = client.get_experiment_by_name("toy/toy2").experiment_id
    failed = client.search_runs([experiment], "attributes.status = 'FAILED'")
    assert {run.info.run_name for run in failed} == {"raising"}
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["algorithm=tiez"], "did you mean 'ties'"),
        (["algorithm=ties", "algorithm.scalin=1"], "did you mean 'scaling'"),
        (["-m", "algorithm=ties", "algorithm.scalin=1,2"], "did you mean 'scaling'"),
        (["algorithm=ties", "algorithm.scaling=much"], "much"),
        (["algorithm=ties", "algorithm.density=2"], "density"),
        (["algorithm=ties,slerp"], "several values for algorithm"),
        (["algorithm=ties", "algorithm.scaling=0.1,0.2"], "several values for algorithm.scaling"),
        (["algorithm=ties", "seed=one"], "a seed is a whole number"),
        (["algorithm=ties", "seed=1,2"], "several values for seed"),
        (["algorithm=ties", "device=cdua"], "unknown device"),
        (["algorithm=ties,"], "empty value"),
        (["algoritm=ties"], "did you mean algorithm"),
        (["zo"], "did you mean 'zoo'"),
        (["algorithm=ties", "--config-name", "nothing"], "unknown root configuration"),
    ],
)
def test_what_a_user_gets_wrong_is_one_plain_message(command: Command, words: list[str], said: str) -> None:
    done = command(*words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err
    assert "  hint: " in done.err or "whole number" in done.err


def test_a_folder_that_is_not_there_is_told(command: Command) -> None:
    done = command.plain("algorithm=ties", "--config-path", "nowhere")
    assert done.status == 2
    assert "no such folder: nowhere" in done.err


def test_a_dead_server_is_told_before_work(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = command.plain("modelpool=toy", "taskpool=toy2", "--config-path", str(command.config))
    assert done.status == 2
    assert "does not answer" in done.err
    assert "accuracy" not in done.err


def test_cfg_prints_the_configuration_and_runs_nothing(command: Command, tmp_path: Path) -> None:
    done = command.plain("algorithm=ties", "algorithm.scaling=0.4", "--seed", "7", "--cfg", "job")
    shown = yaml.safe_load(done.out)
    assert (shown["algorithm"]["scaling"], shown["seed"], shown["device"]) == (0.4, 7, "cpu")
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_groups_with_the_users_names(command: Command) -> None:
    done = command.plain("--help", "--config-path", str(command.config))
    assert done.status == 0
    for name in ("algorithm=", "modelpool=", "taskpool=", "ties", "tsv_m", "clip_mini", "mini8", "toy2"):
        assert name in done.out


def test_a_root_configuration_decides_names_seed_and_fields(command: Command, toy_config: Path, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    for group in ("modelpool", "taskpool"):
        (tmp_path / "conf" / group).symlink_to(toy_config / group)
    (tmp_path / "conf" / "mine.yaml").write_text(
        "defaults:\n  - algorithm: dare_ties\n  - modelpool: toy\n  - taskpool: toy2\n  - _self_\n"
        "seed: 5\ndevice: cpu\nalgorithm:\n  scaling: 0.7\n"
    )
    words = ["--config-path", "conf", "--config-name", "mine", "--tracking-uri", command.uri]
    report = command.plain(*words).json
    assert report["case"]["algorithm"] == "dare_ties"
    assert report["case"]["seed"] == report["config"]["algorithm"]["seed"] == 5
    assert report["config"]["algorithm"]["scaling"] == 0.7
    assert report["search"] == {}  # the root fixed what would be searched


def test_resume_reuses_and_says_so(command: Command) -> None:
    first = command("algorithm=slerp", "algorithm.t=0.3")
    again = command("algorithm=slerp", "algorithm.t=0.3", "--resume")
    assert again.json["run_id"] == first.json["run_id"]
    assert again.json["resumed"]
    assert "finished run" in again.err


def test_only_the_best_model_of_a_sweep_stays(command: Command) -> None:
    words = ["algorithm=simple_average,ties,task_arithmetic,pretrained,simple_ensemble", "--save-models", "best"]
    done = command("-m", *words)
    assert "keeping the best of 3 fused models" in done.err
    from mlflow import MlflowClient

    client = MlflowClient(command.uri)
    fused = {r["run_id"]: r["metrics"]["accuracy/mean"] for r in done.json if r["kind"] == "merging"}
    keeping = [run for run in fused if "model" in [artifact.path for artifact in client.list_artifacts(run)]]
    assert keeping == [max(fused, key=lambda run: fused[run])]  # the earlier of equal ones
    others = [r["run_id"] for r in done.json if r["kind"] != "merging"]
    assert all("model" not in [artifact.path for artifact in client.list_artifacts(run)] for run in others)


def test_the_handler_of_sigterm_is_put_back(command: Command) -> None:
    before = signal.getsignal(signal.SIGTERM)
    command("algorithm=pretrained")
    assert signal.getsignal(signal.SIGTERM) is before
