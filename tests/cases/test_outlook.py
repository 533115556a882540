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


def test_what_no_file_states_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "modelpool").mkdir()
    text = "type: hf_clip\nbase: no/base\nexperts: {a: no/a}\ntaskpools: [mini8]\n"
    (tmp_path / "modelpool" / "mine.yaml").write_text(text)
    (found,) = outlooks([Case("ties", "mine", "mini8", kind="merging")], config_dir=tmp_path)
    assert (found.memory, found.writes, found.modelpool.download) == (None, None, 0)


def test_what_is_not_here_is_told_from_what_its_file_states() -> None:
    (found,) = outlooks([Case("ties", "clip_vit_b32_ta8", "ta8", kind="merging")])
    pool = found.modelpool
    assert pool.missing
    assert pool.stated == 350_000_000 == found.writes
    assert pool.download == 3_405_000_000
    assert found.memory == 2 * pool.stated + BUDGET
    assert (pool.fetch, pool.make) == ("fusion_bench pools fetch clip_vit_b32_ta8", None)


def test_what_a_command_makes_is_not_to_be_fetched() -> None:
    (found,) = outlooks([Case("ties", "resnet50_ta8", "ta8_classification", kind="merging")])
    pool = found.modelpool
    assert pool.made == set(pool.missing) - {"base"}
    assert pool.make == "fusion_bench zoo build resnet50_ta8"
    assert pool.fetch == "fusion_bench pools fetch resnet50_ta8"


def test_what_is_made_already_needs_no_command(tmp_path: Path) -> None:
    (tmp_path / "modelpool").mkdir()
    text = f"type: hf_clip\nbase: no/base\nexperts: {{a: {tmp_path}}}\ntaskpools: [mini8]\nmake: train it\n"
    (tmp_path / "modelpool" / "mine.yaml").write_text(text)
    (found,) = outlooks([Case("ties", "mine", "mini8", kind="merging")], config_dir=tmp_path)
    assert (found.modelpool.made, found.modelpool.make) == (frozenset(), None)
    assert found.modelpool.fetch == "fusion_bench pools fetch mine"
