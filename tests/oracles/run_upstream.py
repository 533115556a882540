"""Run a method of the published fusion-bench on state dicts. Executed by the oracles' own Python, not by pytest.

usage: run_upstream.py METHOD OPTIONS_JSON FOLDER
FOLDER has e*.safetensors and, for methods that know a base, base.safetensors; out.safetensors is made.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


def module(state):
    """A tree of modules whose state dict is the given one."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        at.register_parameter(last, nn.Parameter(tensor))
    return root


def main():
    method, options, folder = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    import fusion_bench
    from fusion_bench import BaseModelPool

    assert "site-packages" in fusion_bench.__file__, f"the wrong fusion_bench: {fusion_bench.__file__}"
    algorithm = getattr(importlib.import_module("fusion_bench.method"), method)
    began = time.perf_counter()
    models = {path.stem: module(load_file(path)) for path in sorted(folder.glob("e*.safetensors"))}
    if (folder / "base.safetensors").exists():
        models["_pretrained_"] = module(load_file(folder / "base.safetensors"))
    loaded = time.perf_counter()
    with torch.no_grad():
        merged = algorithm(**options).run(BaseModelPool(models))
    fused = time.perf_counter()
    state = merged if isinstance(merged, dict) else merged.state_dict()
    save_file({name: tensor.detach().contiguous() for name, tensor in state.items()}, folder / "out.safetensors")
    print(json.dumps({"loading": loaded - began, "fusing": fused - loaded, "writing": time.perf_counter() - fused}))


main()
