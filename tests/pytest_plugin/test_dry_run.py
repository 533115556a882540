"""``--dry-run`` prints a plan and does nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_a_plan_instead_of_a_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    pytester.makepyfile("def test_fusion(case, tracked_run): raise AssertionError('it ran')")
    done = pytester.runpytest_subprocess("--dry-run", "-k", "simple_average and clip_vit_b32_ta8")
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "dry run: 1 case, nothing is fused",
            "model pool clip_vit_b32_ta8: 9 models; not here: base, sun397, *",
            "*(about 3.4 GB in all)",
            "  fetch it: fusion_bench pools fetch clip_vit_b32_ta8",
            "task pool ta8: 8 tasks; not here: *",
            "simple_average-clip_vit_b32_ta8-ta8  1.2 GB        350 MB",
        ]
    )
    assert not (Path(pytester.path) / "mlruns").exists()


def test_a_pool_is_chosen_by_its_name_in_k(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_fusion(case): pass")
    done = pytester.runpytest_subprocess("--collect-only", "-q", "-k", "clip_vit_b16_ta8_lora and slerp")
    done.stdout.fnmatch_lines(["*slerp-clip_vit_b16_ta8_lora-ta8*"])
    assert "unseen" not in done.stdout.str()
    assert "clip_mini" not in done.stdout.str()


@pytest.mark.parametrize("spread", [("-n", "2"), ("--dist", "load", "--tx", "2*popen"), ("-n", "auto")])
def test_a_plan_is_not_distributed(pytester: pytest.Pytester, spread: tuple[str, ...]) -> None:
    pytester.makepyfile("def test_fusion(case, tracked_run): raise AssertionError('it ran')")
    done = pytester.runpytest_subprocess("--dry-run", "-k", "simple_average and clip_vit_b32_ta8", *spread)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["dry run: 1 case, nothing is fused", "simple_average-clip_vit_b32_ta8-ta8 *"])
