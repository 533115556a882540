"""``fusion_bench pools``: what the pools are made of, what of it is here, and how the rest comes."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

_DESCRIPTION = """\
Model pools and task pools: the models and data sets that they are made of.

  fusion_bench pools list                         all of them: sizes, licences, what is here
  fusion_bench pools show clip_vit_b32_ta8        each model of one: revision, where it lies or what lacks
  fusion_bench pools check clip_vit_b32_ta8 ta8   ask the hub whether all of it is there and sound; fetches no weights
  fusion_bench pools check --all --pin            and keep commits, sizes and sums: what is fetched later is the same
  fusion_bench pools fetch clip_vit_b32_ta8 ta8   bring it here; what was cut off goes on
  fusion_bench pools new mine --base models/base --expert mnist=models/mnist --expert svhn=owner/name

An id is looked for in the folders of FUSION_BENCH_MODELS (as owner/name or name), then in the hub's cache (HF_HOME).
HF_ENDPOINT names a mirror; HF_HUB_OFFLINE=1 forbids to ask.
"""

#: Actions and the modules that do them; each has ``run(options)``.
_ACTIONS = {
    "list": "fusion_bench.cli.pools_show",
    "show": "fusion_bench.cli.pools_show",
    "check": "fusion_bench.cli.pools_hub",
    "fetch": "fusion_bench.cli.pools_hub",
    "new": "fusion_bench.cli.pools_new",
}


def parser() -> argparse.ArgumentParser:
    """The parser of ``fusion_bench pools``."""
    made = argparse.ArgumentParser(
        prog="fusion_bench pools", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="list|show|check|fetch|new")
    known = {name: actions.add_parser(name, prog=f"fusion_bench pools {name}") for name in _ACTIONS}
    for name, action in known.items():
        action.add_argument("--config-path", type=Path, metavar="DIR", help="your folder with modelpool/ and taskpool/")
        if name in ("list", "show", "check"):
            action.add_argument("--format", choices=["text", "json"], default="text")
    for name in ("show", "check", "fetch"):
        known[name].add_argument("names", nargs="*" if name == "check" else "+", metavar="NAME")
    known["check"].add_argument("--all", action="store_true", help="every pool there is")
    known["check"].add_argument(
        "--pin", action="store_true", help="write commits, sizes and sums to pins/NAME.yaml beside the pool's folder"
    )
    known["check"].add_argument("--no-headers", action="store_true", help="do not read headers of weights")
    for name in ("check", "fetch"):
        known[name].add_argument("--workers", type=int, default=8, metavar="N", help="at once (default: %(default)s)")
    _add_new(known["new"])
    return made


def main(arguments: Sequence[str]) -> int:
    """Run ``fusion_bench pools``; returns the exit status."""
    options = parser().parse_args(list(arguments))
    return int(importlib.import_module(_ACTIONS[options.action]).run(options))


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("name", metavar="NAME", help="of the pool: its file is modelpool/NAME.yaml")
    new.add_argument("--base", required=True, metavar="MODEL", help="a folder, or an id of the hub")
    new.add_argument(
        "--expert",
        action="append",
        required=True,
        metavar="TASK=MODEL",
        help="fine-tuned from it; give several",
    )
    new.add_argument("--multitask", metavar="MODEL", help="trained on all tasks at once")
    new.add_argument("--type", default="hf_clip", metavar="TYPE", help="of the model pool (default: %(default)s)")
    new.add_argument("--taskpool", action="append", default=[], metavar="NAME", help="that it is evaluated on")
    new.add_argument("--about", metavar="TEXT", help="one line, for `pools list`")
    new.add_argument("--fetch", action="store_true", help="bring ids of the hub here first")
    new.add_argument("--overwrite", action="store_true", help="replace a pool of that name")
