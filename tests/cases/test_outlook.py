"""What cases would need, told from files alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fusion_bench.cases import Case
from fusion_bench.cases.outlook import BUDGET, outlooks


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "modelpool").mkdir(parents=True)
    for name in ("base", "a", "b"):
        (tmp_path / name).mkdir()
        save_file({"w": torch.zeros(1000 if name == "base" else 500)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "notes.txt").write_text("not weights")
    sizes = {n: (tmp_path / n / "model.safetensors").stat().st_size for n in ("base", "a", "b")}
    experts = "".join(f"  {name}: {tmp_path / name}\n" for name in ("a", "b"))
    text = f"type: hf_clip\nbase: {tmp_path / 'base'}\nexperts:\n{experts}taskpools: [mini8]\n"
    (config / "modelpool" / "mine.yaml").write_text(text)
    kinds = {"ties": "merging", "simple_ensemble": "ensemble", "pretrained": "reference"}
    cases = [Case(algorithm, "mine", "mini8", kind=kind) for algorithm, kind in kinds.items()]
    merging, ensemble, reference = outlooks(cases, config_dir=config)
    assert merging.modelpool.parts == 3
    assert merging.modelpool.bytes == sum(sizes.values())
    assert merging.modelpool.largest == sizes["base"]
    assert not merging.modelpool.missing
    assert merging.memory == 2 * sizes["base"] + sum(sizes.values())
    assert merging.memory < BUDGET
    assert (merging.writes, ensemble.writes, reference.writes) == (sizes["base"], None, None)
    assert ensemble.memory == 2 * sizes["base"]
    assert reference.memory == sizes["base"]


def test_what_is_not_here_is_named_with_its_command() -> None:
    (found,) = outlooks([Case("ties", "clip_vit_l14_tall20", "tall20")])
    assert len(found.modelpool.missing) == 21
    assert found.memory is None
    assert found.writes is None
    assert found.modelpool.fetch == "fusion_bench pools fetch clip_vit_l14_tall20"
    assert set(found.taskpool.missing) >= {"sun397", "rendered-sst2"}


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from fusion_bench.cases import Case; from fusion_bench.cases.outlook import outlooks;"
        "outlooks([Case('ties', 'clip_mini', 'mini8'), Case('ties', 'clip_vit_b32_ta8', 'ta8')]);"
        "print([m for m in ('torch', 'mlflow', 'transformers', 'pandas', 'datasets', 'hydra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
