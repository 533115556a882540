"""What is refused before a job begins: what models cannot be opened from, quantised ones, targets not to be written."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.merging import merge
from fusion_bench.merging.names import checkpoint_names


@pytest.fixture
def job(tmp_path):
    """Keyword arguments for merge: two experts and a base, as folders."""
    for i, name in enumerate(("first", "a", "b")):
        (tmp_path / name).mkdir()
        save_file({"w": torch.full((3,), float(i))}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"dtype": "float32", "torch_dtype": "float32"}))
    return {"base": tmp_path / "first", "experts": [tmp_path / "a", tmp_path / "b"], "out": tmp_path / "out"}


def refused(job, message, name="task_arithmetic", **changes):
    before = {path: path.read_bytes() for path in job["base"].parent.rglob("*") if path.is_file()}
    for dry_run in (True, False):
        with pytest.raises(FusionBenchError, match=message):
            merge(name, **{**job, **changes}, dry_run=dry_run)
    assert {path: path.read_bytes() for path in job["base"].parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "banana"}, "device = 'banana' cannot be used"),
        ({"device": "meta"}, "holds no numbers"),
        ({"device": 1.5}, "device = 1.5 cannot be used"),
        ({"dtype": "float8_e4m3fn"}, "unknown dtype"),
        ({"dtype": torch.int8}, "unknown dtype"),
        ({"dtype": ["float32"]}, "unknown dtype"),
        ({"memory": "inf"}, "memory = 'inf'"),
        ({"memory": None}, "memory = None"),
        ({"memory": "lots"}, "memory = 'lots'"),
        ({"memory": "63MB"}, "too little"),
        ({"overwrite": "flase"}, "overwrite = 'flase'"),
        ({"on_non_finite": "Error"}, "on_non_finite = 'Error'"),
        ({"on_mismatch": "eror"}, "did you mean 'error'"),
        ({"out": 3}, "out is a int"),
        ({"base": None}, "base is a NoneType"),
        ({"base": nn.Linear(1, 1)}, "give its state_dict"),
        ({"experts": [None]}, "an expert is a NoneType"),
        ({"experts": 3}, "experts is a int"),
        ({"experts": {"base": "x"}}, "an expert is called 'base'"),
        ({"experts": {1: "x", "1": "y"}}, "two experts have one name"),
    ],
)
def test_options_that_mean_nothing(changes, message, job):
    refused(job, message, **changes)


def test_a_device_that_is_not_there(job):
    if torch.cuda.is_available():
        pytest.skip("it is there")
    refused(job, "device = 'cuda' cannot be used", device="cuda")


def test_memory_takes_any_number(job):
    merge("task_arithmetic", **job, memory=1e9)
    merge("task_arithmetic", **{**job, "out": job["out"].with_name("other")}, memory="64MB")


def test_an_option_of_an_algorithm_given_as_an_object(job):
    from fusion_bench import load_algorithm

    refused(job, "density = 3", name=load_algorithm("ties"), density=3.0)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".SafeTensors", ".gguf"])
def test_files_of_other_kinds_are_not_written(suffix, job):
    refused(job, "no file of that kind", out=job["out"].with_suffix(suffix))


def test_quantised_models(job):
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (job["experts"][0] / "config.json").write_text(json.dumps(config))
    refused(job, r"a is quantised \(gptq\)")


def test_eight_bit_floats(job):
    save_file({"w": torch.ones(3).to(torch.float8_e4m3fn)}, job["base"] / "model.safetensors")
    refused(job, "float8_e4m3fn")


@pytest.mark.parametrize("inside", ["inner", "deep/inner"])
def test_a_result_inside_an_input(inside, job):
    refused(job, "lies inside the input", out=job["base"] / inside)


def test_experts_that_the_method_does_not_read_are_inputs_too(job, tmp_path):
    third = tmp_path / "c"
    refused(job, "no checkpoint", name="slerp", experts=[*job["experts"], third])
    third.mkdir()
    save_file({"w": torch.ones(3)}, third / "model.safetensors")
    refused(job, "is or holds the input", name="slerp", experts=[*job["experts"], third], out=third, overwrite=True)


def test_what_is_no_checkpoint_is_not_replaced(job, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "thesis.txt").write_text("years of work")
    refused(job, "holds no weights", out=project, overwrite=True)
    merge("task_arithmetic", **job)
    (job["out"] / ".git").mkdir()
    refused(job, "holds the folder .git", overwrite=True)


def test_a_card_of_somebody_elses_is_not_replaced(job, tmp_path):
    out = tmp_path / "keep.safetensors"
    (tmp_path / "keep.md").write_text("my notes")
    refused(job, "keep.md is there", out=out)
    refused(job, "keep.md is there", out=out, overwrite=True)
    (tmp_path / "keep.md").unlink()
    merge("task_arithmetic", **{**job, "out": out})
    merge("task_arithmetic", **{**job, "out": out}, overwrite=True)


def test_a_target_that_cannot_be(job, tmp_path):
    (tmp_path / "file").write_text("")
    refused(job, "file is no folder", out=tmp_path / "file" / "x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    refused(job, "link to what is not there", out=tmp_path / "dangling")
    refused(job, "name too long|File name", out=tmp_path / ("x" * 300))


def test_the_configuration_says_the_type_that_was_asked_for(job):
    merge("task_arithmetic", **job, dtype="bfloat16")
    found = json.loads((job["out"] / "config.json").read_text())
    assert found == {"dtype": "bfloat16", "torch_dtype": "bfloat16"}
    merge("task_arithmetic", **job, overwrite=True)
    assert json.loads((job["out"] / "config.json").read_text()) == {"dtype": "float32", "torch_dtype": "float32"}


def test_a_folder_called_base_is_named_with_its_parent(tmp_path):
    names = list(checkpoint_names([tmp_path / "ft" / "base", tmp_path / "ft" / "math"]))
    assert names == ["ft/base", "ft/math"]


def test_experts_may_come_one_by_one(job):
    one = {"w": torch.ones(3)}
    assert merge("simple_average", base=one, experts=(e for e in [one, one]))["w"].tolist() == [1, 1, 1]


def second_paths(folder):
    """Other ways to say the same folder ``a``."""
    (folder / "link").symlink_to(folder / "a")
    (folder / "linked.safetensors").symlink_to(folder / "a" / "model.safetensors")
    (folder / "hard.safetensors").hardlink_to(folder / "a" / "model.safetensors")
    (folder / "snapshot").mkdir()  # as the hub's cache has them
    (folder / "snapshot" / "model.safetensors").symlink_to(folder / "a" / "model.safetensors")
    return ["a/model.safetensors", "link", "linked.safetensors", "hard.safetensors", "snapshot", "b/../a"]


@pytest.mark.parametrize("number", range(6))
def test_one_checkpoint_listed_twice_by_different_paths(number, job, tmp_path):
    second = tmp_path / second_paths(tmp_path)[number]
    twice = [tmp_path / "a", tmp_path / "b", second]
    refused(job, "are the same files", experts=twice)
    refused(job, "are the same files", experts=twice[::-1])
    merge("task_arithmetic", **{**job, "experts": {"a": twice[0], "again": second}})  # by name it is meant


def test_copies_are_checkpoints_of_their_own(job, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "model.safetensors").write_bytes((tmp_path / "a" / "model.safetensors").read_bytes())
    merge("task_arithmetic", **{**job, "experts": [tmp_path / "a", tmp_path / "copy"]})
