"""``fusion_bench merge`` as typed."""

import shlex
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.cli import main
from fusion_bench.cli.merge import parsed
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("base", "a", "b")):
        save_file({"w": torch.full((4,), float(i))}, f"{name}.safetensors")
    return tmp_path


COMMON = ["merge", "algorithm=task_arithmetic", "base=base.safetensors", "experts=[a.safetensors, b.safetensors]"]


def test_merge_and_its_last_lines(folder, capsys):
    assert main([*COMMON, "out=out", "algorithm.scaling=0.5", "memory=64MiB"]) == 0
    assert open_checkpoint("out")["w"].tolist() == [1.5] * 4
    out = capsys.readouterr().out
    assert "task_arithmetic in" in out
    assert "GB/s" in out
    assert "private memory" in out
    assert "algorithm" not in out.splitlines()[0]


def test_named_experts_and_a_dry_run(folder, capsys):
    given = [*COMMON[:3], "experts={one: a.safetensors, two: b.safetensors}"]
    assert main([*given, "--dry-run"]) == 0
    assert "write" in capsys.readouterr().out
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["merge"], "merge needs algorithm=…, base=…, experts=…"),
        (COMMON, "merge needs out=…"),
        ([*COMMON, "out=out", "algorithm.scalin=1"], "scaling"),
        ([*COMMON, "out=out", "memori=1GB"], "memory"),
        ([*COMMON, "out=base.safetensors"], "is or holds the input"),
        ([*COMMON[:3], "experts=a.safetensors", "out=out"], "experts=[a,b]"),
        ([*COMMON[:2], "base=bas.safetensors", COMMON[3], "out=out"], "near it: base.safetensors"),
        ([*COMMON, "out"], "no OPTION=VALUE"),
        ([*COMMON, "out=out", "out=other"], "given twice"),
        ([*COMMON, "out=out", "algorithm.memory=1"], "write memory="),
    ],
)
def test_mistakes(words, message, folder, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_help_names_the_methods(capsys):
    with pytest.raises(SystemExit):
        main(["merge", "--help"])
    out = capsys.readouterr().out
    assert "ties_mergekit" in out
    assert "on_mismatch" in out
    assert "simple_ensemble" not in out


def test_values_are_yaml():
    assert parsed(["experts=[a, b]", "algorithm.weights=[1, 2]", "overwrite=true", "out=1"]) == {
        "experts": ["a", "b"],
        "weights": [1, 2],
        "overwrite": True,
        "out": "1",
    }
    with pytest.raises(FusionBenchError, match="no YAML"):
        parsed(["experts=[a"])


def test_who_reads_the_output_may_stop(folder):
    program = f"import sys; from fusion_bench.cli import main; sys.exit(main({[*COMMON, 'out=out']!r}))"
    command = f"{shlex.join([sys.executable, '-c', program])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "BrokenPipe" not in done.stderr
    assert open_checkpoint(folder / "out")["w"].tolist() == pytest.approx([0.9] * 4)


def test_values_as_people_write_them():
    assert parsed(["algorithm.density=1e-2", "algorithm.scaling=3E-1"]) == {"density": 0.01, "scaling": 0.3}
    assert parsed(["experts=[500, 1000]"]) == {"experts": ["500", "1000"]}
    assert parsed(["experts={a: 500, 7: x}"]) == {"experts": {"a": "500", "7": "x"}}
    with pytest.raises(FusionBenchError, match="'a' is given twice"):
        parsed(["experts={a: x, a: y}"])
    with pytest.raises(FusionBenchError, match=r"algorithm\.density"):
        parsed(["density=0.5"])
