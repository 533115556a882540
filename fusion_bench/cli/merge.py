"""``fusion_bench merge``: checkpoints in, a checkpoint out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_bench import registry
from fusion_bench.errors import FusionBenchError, unknown_name

_DESCRIPTION = """\
Merge checkpoints into one, in bounded memory.

  fusion_bench merge algorithm=ties base=base/ experts=[a/,b/] out=merged/
  fusion_bench merge algorithm=ties base=base/ experts=[a/,b/] out=merged/ algorithm.density=0.2 memory=2GB
  fusion_bench merge algorithm=slerp base=base/ experts=[a/,b/] out=m.safetensors algorithm.t=0.3 --dry-run

Inputs are safetensors files, Hugging Face folders (sharded or not), PEFT adapters of the base (as experts), and .bin
and .pt files. The result is written under a temporary name and renamed when it is whole; a model card lies beside it.
"""

_OPTIONS = {
    "algorithm": "the method; algorithm.FIELD=VALUE sets its options",
    "base": "the model that the experts were fine-tuned from",
    "experts": "[path, path] or {name: path, name: path}",
    "out": "a folder, or a file ending in .safetensors",
    "memory": "what the work may hold beside mapped files, 512MiB if not given",
    "threads": "as many as there are cores, if not given",
    "device": "cpu, cuda, …",
    "dtype": "of the result: float32, bfloat16, float16; the base's if not given",
    "on_mismatch": "error | base (its tensor) | pad (its rows below a smaller vocabulary) | tokens (rows by token)",
    "on_non_finite": "error | allow",
    "overwrite": "true replaces what is at out",
    "hashes": "digest of the inputs in the card: blake3 (if not given) | sha256 (as hubs show) | false",
}


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    given = parser.parse_intermixed_args(arguments)
    options = parsed(given.overrides)
    missing = [name for name in ("algorithm", "base", "experts") if name not in options]
    if missing or ("out" not in options and not given.dry_run):
        raise FusionBenchError(
            f"merge needs {', '.join(f'{name}=…' for name in missing or ['out'])}", hint="fusion_bench merge --help"
        )
    from fusion_bench.cli.display import display
    from fusion_bench.merging import MergePlan, MergeReport, merge

    with display(f"merge {options['algorithm']}", 0, 1) as progress:
        done = merge(
            options.pop("algorithm"),
            **options,
            dry_run=given.dry_run,
            config_dir=given.config_path,
            plugins=given.plugin,
            progress=progress,
        )
    assert isinstance(done, (MergePlan, MergeReport))
    print("\n".join(done.lines()))
    return 0


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words as keyword arguments of ``merge``; values are YAML.

    Raises:
        FusionBenchError: a word without ``=``, an unknown name, a value that is no YAML.

    Example:
        >>> parsed(["experts=[a, b]", "algorithm.density=0.2"])
        {'experts': ['a', 'b'], 'density': 0.2}
    """
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise FusionBenchError(f"{word!r} is no OPTION=VALUE", hint="for instance base=models/base")
        field = name.removeprefix("algorithm.")
        if field == name and name not in _OPTIONS:
            error = unknown_name("option", name, _OPTIONS)
            raise FusionBenchError(error.message, hint=f"{error.hint}; the method's are written algorithm.{name}=…")
        if field != name and field in _OPTIONS:
            raise FusionBenchError(f"{name} is no field of an algorithm", hint=f"write {field}=…")
        if field in found:
            raise FusionBenchError(f"{name} is given twice")
        try:
            found[field] = text if field in ("base", "out", "memory") else _value(text)
        except yaml.YAMLError as error:
            raise FusionBenchError(f"{word!r}: the value is no YAML", hint="quote it in the shell") from error
    found |= {"experts": _paths(found["experts"])} if "experts" in found else {}
    if isinstance(found.get("experts"), str):
        raise FusionBenchError(f"experts={found['experts']} is one path", hint="give a list: experts=[a,b]")
    return found


def _value(text: str) -> Any:
    """YAML; and 1e-2 is a number, which YAML takes for a word, and a name given twice a mistake, which it lets pass."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise FusionBenchError(f"{twice[0]!r} is given twice in {text}", hint="give each its own name")
            return super().construct_mapping(node, deep=deep)

    found = yaml.load(text, Loader)
    return float(found) if isinstance(found, str) and re.fullmatch(r"[+-]?[\d.]+[eE][+-]?\d+", found) else found


def _paths(experts: Any) -> Any:
    """Paths as text: folders may be called by numbers, such as those of training steps."""
    if isinstance(experts, dict):
        return {str(name): _paths([source])[0] for name, source in experts.items()}
    if isinstance(experts, list):
        return [str(each) if isinstance(each, (int, float)) else each for each in experts]
    return experts


def _parser() -> argparse.ArgumentParser:
    merging = [n for n in registry.names("algorithm") if registry.read_config("algorithm", n).get("kind") == "merging"]
    lines = ["options:", *(f"  {name + '=':15}{meaning}" for name, meaning in _OPTIONS.items())]
    lines += ["", "methods:", f"  {', '.join(merging)}"]
    parser = argparse.ArgumentParser(
        prog="fusion_bench merge",
        description=_DESCRIPTION,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="OPTION=VALUE", help="see below")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, write nothing")
    parser.add_argument("--config-path", type=Path, metavar="DIR", help="your folder with algorithm/*.yaml")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="your own Python file")
    return parser
