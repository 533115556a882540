"""fusion_bench.merge: in memory and on disk, what it returns, what it refuses before work starts."""

import dataclasses
import hashlib

import pytest
import torch
import yaml
from blake3 import blake3
from safetensors.torch import save_file

import fusion_bench
from fusion_bench.algorithms.ties import Ties
from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import MergePlan, MergeReport, merge
from fusion_bench.merging.names import checkpoint_names
from fusion_bench.merging.options import as_bytes
from fusion_bench.weights.opening import open_checkpoint


@pytest.fixture
def models(tmp_path):
    g = torch.Generator().manual_seed(0)
    states = {n: {"w": torch.randn(20, 30, generator=g), "b": torch.randn(20, generator=g)} for n in ("base", "x", "y")}
    for name, state in states.items():
        (tmp_path / name).mkdir()
        save_file(state, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "README.md").write_text("---\nlicense: apache-2.0\n---\n# a model\n")
    return tmp_path, states


def test_state_dicts_give_a_state_dict(models):
    _, states = models
    merged = fusion_bench.merge("ties", base=states["base"], experts=[states["x"], states["y"]], density=0.3)
    expected = Ties(density=0.3).merge(states["base"], [states["x"], states["y"]])
    assert all(torch.equal(merged[n], expected[n]) for n in expected)
    again = merge(Ties(), base=states["base"], experts=[states["x"], states["y"]], density=0.3)
    assert all(torch.equal(again[n], expected[n]) for n in expected)
    mixed = merge({"type": "ties"}, base=states["base"], experts={"a": states["x"]}, scaling=0.0)
    assert torch.equal(mixed["w"], states["base"]["w"])


def test_folders_give_a_folder_with_a_card_and_what_lay_beside_the_base(models):
    folder, states = models
    report = merge("task_arithmetic", base=folder / "base", experts=[folder / "x", folder / "y"], out=folder / "out")
    assert isinstance(report, MergeReport)
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    expected = merge("task_arithmetic", base=states["base"], experts={"x": states["x"], "y": states["y"]})
    found = open_checkpoint(folder / "out")
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    card = (folder / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0"
    assert front["base_model"] == [str(folder / n) for n in ("base", "x", "y")]
    for name in ("base", "x", "y"):
        assert blake3((folder / name / "model.safetensors").read_bytes()).hexdigest() in card
    assert "BLAKE3" in card
    assert "scaling: 0.3" in card
    assert report.bytes_written == 4 * 620
    assert len(report.lines()) == 2
    assert report.to_dict()["method"] == "task_arithmetic"


def test_the_card_gives_the_digest_that_is_asked_for(models):
    folder, _ = models
    inputs = {"base": folder / "base", "experts": [folder / "x"], "out": folder / "m.safetensors", "overwrite": True}

    def card(**options):
        merge("task_arithmetic", **inputs, **options)
        return (folder / "m.md").read_text()

    data = (folder / "x" / "model.safetensors").read_bytes()
    found = card(hashes="sha256")
    assert hashlib.sha256(data).hexdigest() in found
    assert "SHA-256" in found
    assert "not computed" in card(hashes=False)
    with pytest.raises(FusionBenchError, match="sha265"):
        card(hashes="sha265")


def test_several_licences_are_left_to_a_person(models):
    folder, _ = models
    (folder / "x" / "README.md").write_text("---\nlicense: mit\n---\n")
    merge("simple_average", base=folder / "base", experts=[folder / "x", folder / "y"], out=folder / "m.safetensors")
    front = yaml.safe_load((folder / "m.md").read_text().split("---")[1])
    assert (front["license"], front["license_name"]) == ("other", "apache-2.0 and mit")


def test_a_dry_run_plans_and_writes_nothing(models):
    folder, _ = models
    before = sorted(folder.rglob("*"))
    plan = merge("ties", base=folder / "base", experts=[folder / "x"], out=folder / "out", dry_run=True, memory="1GB")
    assert isinstance(plan, MergePlan)
    assert plan.passes == 2
    assert plan.bytes_to_read == 2 * 4 * 620
    assert plan.memory == 10**9
    assert sorted(folder.rglob("*")) == before
    assert any("2 passes" in line for line in plan.lines())


def test_the_type_of_the_result(models):
    folder, states = models
    merge("slerp", base=folder / "base", experts=[folder / "x", folder / "y"], out=folder / "out", dtype="bfloat16")
    found = open_checkpoint(folder / "out")
    exact = merge("slerp", base=states["base"], experts=[states["x"], states["y"]])
    assert torch.equal(found["w"], exact["w"].bfloat16())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "tiez"}, "did you mean 'ties'"),
        ({"algorithm": "simple_ensemble"}, "makes no checkpoint"),
        ({"density": 2.0}, "density"),
        ({"densty": 0.2}, "density"),
        ({"experts": []}, "no experts"),
        ({"experts": "x"}, "one path"),
        ({"memory": "lots"}, "memory"),
        ({"dtype": "float8"}, "dtype"),
        ({"dtype": "bfloat17"}, "bfloat16"),
        ({"on_mismatch": "skip"}, "on_mismatch"),
        ({"threads": 0}, "threads"),
    ],
)
def test_refused_before_work_starts(change, message, models):
    folder, _ = models
    arguments = {"algorithm": "ties", "base": folder / "base", "experts": [folder / "x"], "out": folder / "out"}
    if change.get("on_mismatch"):
        save_file({"w": torch.ones(1)}, folder / "x" / "model.safetensors")
    with pytest.raises(FusionBenchError, match=message):
        merge(**{**arguments, **change})
    assert not (folder / "out").exists()


def test_names_come_from_paths_whatever_their_order(tmp_path):
    paths = [tmp_path / "a" / "model.safetensors", tmp_path / "b" / "model.safetensors"]
    assert list(checkpoint_names(paths)) == ["a/model", "b/model"]
    assert dict(checkpoint_names(paths[::-1])) == dict(checkpoint_names(paths))
    versions = [tmp_path / "llama-3.1-math", tmp_path / "llama-3.1-code"]  # no suffixes
    assert list(checkpoint_names(versions)) == ["llama-3.1-math", "llama-3.1-code"]
    assert len(checkpoint_names([tmp_path / "m.bin", tmp_path / "m.safetensors"])) == 2
    with pytest.raises(FusionBenchError, match="listed twice"):
        checkpoint_names([paths[0], paths[0]])
    with pytest.raises(FusionBenchError, match="an expert is a Tensor"):
        checkpoint_names({"w": torch.ones(1)})


def test_random_masks_follow_the_paths_not_their_order(models):
    folder, _ = models
    one = merge("dare_ties", base=folder / "base", experts=[folder / "x", folder / "y"])
    other = merge("dare_ties", base=folder / "base", experts=[folder / "y", folder / "x"])
    assert all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    ("text", "count"), [("1GB", 10**9), ("64MiB", 2**26), ("1.5kb", 1500), ("7", 7), ("2G", 2 * 10**9)]
)
def test_sizes(text, count):
    assert as_bytes(text) == count


def test_memory_stays_within_the_budget(tmp_path):
    """A tensor sixteen times the budget: what is held beside mapped files does not grow with it."""
    state = {"w": torch.zeros(2**28, dtype=torch.bfloat16)}  # 512 MiB
    for name in ("base", "x"):
        save_file(state, tmp_path / f"{name}.safetensors")
    del state
    for name in ("task_arithmetic", "ties"):
        done = merge(
            name,
            base=tmp_path / "base.safetensors",
            experts=[tmp_path / "x.safetensors"],
            out=tmp_path / "out.safetensors",
            memory="64MiB",
            overwrite=True,
            hashes=False,
        )
        assert done.peak_memory < 2**26
    assert dataclasses.asdict(done)["bytes_written"] == 2**29


@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "slerp", "ties_mergekit", "tsv_m", "dare_ties_mergekit"])
def test_a_dry_run_estimates_by_running_the_rule_and_leaves_nothing(name, models):
    folder, _ = models
    before = sorted(path.name for path in folder.rglob("*"))
    plan = merge(name, base=folder / "base", experts=[folder / "x", folder / "y"], out=folder / "out", dry_run=True)
    assert plan.seconds > 0
    assert sorted(path.name for path in folder.rglob("*")) == before
