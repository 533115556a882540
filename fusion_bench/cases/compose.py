"""The full configuration of a case, composed by Hydra: defaults, YAML groups, overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.errors import FusionBenchError, nearest

CONFIG_DIR = Path(__file__).parent.parent / "config"
CONFIG_NAME = "fusion_bench"


def compose(
    overrides: Sequence[str], *, config_dir: Path | None = None, config_name: str = CONFIG_NAME
) -> dict[str, Any]:
    """Compose and resolve.

    Args:
        overrides: ``group=name`` and ``group.field=value``.
        config_dir: the user's folder of YAML, searched first.

    Raises:
        FusionBenchError: an unknown group, name or field, with the nearest; or a value that is no YAML.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _check_names(overrides, config_dir)
    own_root = config_dir is not None and (config_dir / f"{config_name}.yaml").is_file()
    root = config_dir if own_root and config_dir is not None else CONFIG_DIR
    others = [d for d in (config_dir, CONFIG_DIR) if d is not None and d != root]
    search = [f"file://{folder.resolve()}" for folder in others]
    paths = [f"hydra.searchpath=[{','.join(search)}]"] if search else []
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(root.resolve()), version_base="1.3"):
            composed = hydra_compose(config_name, overrides=[*paths, *overrides])
        content = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, overrides, config_dir) from error
    finally:
        GlobalHydra.instance().clear()
    return content if isinstance(content, dict) else {}  # type: ignore[return-value]


def compose_case(case: Case, *, config_dir: Path | None = None) -> dict[str, Any]:
    """The configuration of a case."""
    names = [f"{group}={getattr(case, group)}" for group in registry.GROUPS]
    if config_dir is not None:  # the user's file of a name hides the shipped one; Hydra would look in its root first
        names = [_group_choice(group, getattr(case, group), config_dir) for group in registry.GROUPS]
    return compose([*names, *case.overrides, f"seed={case.seed}", f"device={case.device}"], config_dir=config_dir)


def _group_choice(group: str, name: str, config_dir: Path) -> str:
    registry.config_path(group, name, config_dir=config_dir)
    return f"{group}={name}"


def _check_names(overrides: Sequence[str], config_dir: Path | None) -> None:
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key in registry.GROUPS:
            registry.config_path(key, value, config_dir=config_dir)


def _explained(error: Exception, overrides: Sequence[str], config_dir: Path | None) -> FusionBenchError:
    """Hydra's complaint in one sentence, with the nearest key where a key was wrong."""
    message = " ".join(str(error).split())
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        group, _, field = key.partition(".")
        name = next((o.partition("=")[2] for o in overrides if o.startswith(f"{group}=")), None)
        if group in registry.GROUPS and field and name:
            fields = [f for f in registry.read_config(group, name, config_dir=config_dir) if f not in {"type", "kind"}]
            if field.partition(".")[0] not in fields:
                near = nearest(field, fields)
                meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
                return FusionBenchError(
                    f"{group} {name!r} has no option {field!r}", hint=f"{meant}It has: {', '.join(sorted(fields))}"
                )
        elif group not in (*registry.GROUPS, "seed", "device"):
            near = nearest(group, [*registry.GROUPS, "seed", "device"])
            return FusionBenchError(
                f"there is no option {key!r}",
                hint=(f"did you mean {' or '.join(near)}? " if near else "")
                + "options are algorithm, modelpool, taskpool and their fields, seed, device",
            )
    return FusionBenchError(f"cannot compose the configuration: {message}")
