"""Run against an installed wheel: everything that is not Python came along and opens."""

import sys
from pathlib import Path

import fusion_bench

site = Path(sys.argv[1]).resolve()
home = Path(fusion_bench.__file__).resolve()
if not home.is_relative_to(site):
    raise SystemExit(f"imported {home}, not the wheel below {site}")

algorithm = fusion_bench.load_algorithm("ties")
pool = fusion_bench.load_modelpool("clip_mini")
tasks = fusion_bench.load_taskpool("mini8")
state = pool.state_dict("base")
adapters = tasks.bind(pool)
batch = next(iter(adapters["mnist"].inputs("test")))
print(f"{algorithm}; {len(state)} tensors; {len(adapters)} tasks; first batch {tuple(batch.shape)}")

from fusion_bench.report.page.assets import environment, scripts, styles  # noqa: E402 - after the check above
from fusion_bench.report.published import tables  # noqa: E402

environment().get_template("page.html.j2")
print(f"{len(tables())} published tables; the page's {len(scripts()) + len(styles())} characters")
