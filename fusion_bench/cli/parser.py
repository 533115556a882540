"""What the command line may say; argparse only, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from fusion_bench import __version__, registry

#: The first word of a command line that is no ``OPTION=VALUE``, and the module whose ``main`` takes the rest.
COMMANDS = {
    "baseline": "fusion_bench.cli.baseline",
    "compare": "fusion_bench.cli.compare",
    "list": "fusion_bench.cli.listing",
    "merge": "fusion_bench.cli.merge",
    "pools": "fusion_bench.cli.pools",
    "report": "fusion_bench.cli.report",
    "ui": "fusion_bench.cli.ui",
    "zoo": "fusion_bench.zoo.cli",
}

_DESCRIPTION = """\
Fuse the models of a pool with one algorithm, evaluate the result on every task, track it in MLflow.

  fusion_bench algorithm=ties modelpool=clip_mini taskpool=mini8 algorithm.scaling=0.4
  fusion_bench -m algorithm=ties,tsv_m algorithm.scaling=0.5,1.0      every combination
  fusion_bench algorithm=ties --cfg job                               show the configuration, run nothing
  fusion_bench merge algorithm=ties base=b/ experts=[x/,y/] out=m/    checkpoints of any size, on disk
  fusion_bench list                                                   the runs so far
  fusion_bench compare ties slerp                                     two of them, with intervals and tests
  fusion_bench report                                                 all of them, as one HTML page
  fusion_bench baseline show                                          what `pytest bench --baseline` holds cases against
  fusion_bench pools list                                             the pools: sizes, licences, what is here
  fusion_bench ui                                                     the runs, in MLflow's pages
  fusion_bench zoo build clip_mini                                    rebuild the embedded pool from its sources
"""


def build_parser(config_dir: Path | None = None) -> argparse.ArgumentParser:
    """The parser; its help lists the names of every group."""
    parser = argparse.ArgumentParser(
        prog="fusion_bench",
        description=_DESCRIPTION,
        epilog=_groups(config_dir),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="OPTION=VALUE", help="group=name or group.field=value")
    parser.add_argument(
        "--config-path", type=Path, metavar="DIR", help="your folder with algorithm/, modelpool/, taskpool/"
    )
    parser.add_argument(
        "--config-name", default="fusion_bench", metavar="NAME", help="root configuration (default: %(default)s)"
    )
    parser.add_argument("--cfg", choices=["job"], help="print the composed configuration and stop")
    parser.add_argument("-m", "--multirun", action="store_true", help="comma lists are swept: one run per combination")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="MODULE", help="module or .py file with your own classes"
    )
    parser.add_argument("--device", help="cpu (default), cuda, cuda:1, …")
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="of evaluation (default: bfloat16 on CUDA, float32 elsewhere)",
    )
    parser.add_argument("--seed", type=int, help="seed of methods that are random (default: their YAML's, 0)")
    parser.add_argument("--resume", action="store_true", help="reuse a finished run with the same fingerprint")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the JSON report is saved (default: outputs/<case>.json)"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    parser.add_argument(
        "--save-models", choices=["none", "best", "all"], help="which fused models are kept (default: small ones)"
    )
    parser.add_argument("--completion", choices=["bash", "zsh", "fish"], help="print a script for shell completion")
    parser.add_argument("--version", action="version", version=f"fusion_bench {__version__}")
    return parser


def _groups(config_dir: Path | None) -> str:
    lines = ["groups and their names:"]
    for group in registry.GROUPS:
        lines += _wrapped(f"  {group}=", registry.names(group, config_dir=config_dir))
    return "\n".join(lines)


def _wrapped(head: str, names: list[str], width: int = 100) -> list[str]:
    lines, line = [], head
    for index, name in enumerate(names):
        piece = name + ("" if index == len(names) - 1 else "|")
        if len(line) + len(piece) > width:
            lines.append(line)
            line = " " * len(head)
        line += piece
    return [*lines, line]
