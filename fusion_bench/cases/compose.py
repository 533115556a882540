"""The full configuration of a case, composed by Hydra: defaults, YAML groups, overrides."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.errors import FusionBenchError, nearest, unknown_name

CONFIG_DIR = Path(__file__).parent.parent / "config"
CONFIG_NAME = "fusion_bench"


def compose(
    overrides: Sequence[str], *, config_dir: Path | None = None, config_name: str = CONFIG_NAME
) -> dict[str, Any]:
    """Compose and resolve.

    Args:
        overrides: ``group=name`` and ``group.field=value``.
        config_dir: the user's folder of YAML, searched first: a file in it hides the shipped one of that name.
        config_name: the root configuration, in either folder.

    Raises:
        FusionBenchError: an unknown group, name or field, with the nearest; or a value that is no YAML.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.initialize import get_gh_backup, restore_gh_from_backup
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _check_names(overrides, config_dir)
    root = root_file(config_name, config_dir)
    others = get_gh_backup()  # a program around us may use Hydra too
    GlobalHydra.instance().clear()
    try:
        with (
            _main_folder(root, config_dir) as (folder, paths),
            initialize_config_dir(config_dir=str(folder), version_base="1.3"),
        ):
            composed = hydra_compose(config_name, overrides=[*paths, *map(_quoted, overrides)])
        content = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, overrides, config_dir) from error
    finally:
        restore_gh_from_backup(others)
    if not isinstance(content, dict) or not all(isinstance(content.get(group), dict) for group in registry.GROUPS):
        raise FusionBenchError(
            f"{root_file(config_name, config_dir)} composes no {' or no '.join(_missing(content))}",
            hint="its defaults list names an algorithm, a modelpool and a taskpool",
        )
    return content  # type: ignore[return-value]


def compose_case(case: Case, *, config_dir: Path | None = None, config_name: str = CONFIG_NAME) -> dict[str, Any]:
    """The configuration of a case, its pools at the commits that are pinned."""
    from fusion_bench.hub.pool_sources import with_pins

    names = [f"{group}={getattr(case, group)}" for group in registry.GROUPS]
    rest = [f"++seed={case.seed or 0}", f"++device={case.device}"]
    content = compose([*names, *case.overrides, *rest], config_dir=config_dir, config_name=config_name)
    for group in ("modelpool", "taskpool"):
        content[group] = with_pins(group, getattr(case, group), content[group], config_dir=config_dir)
    return content


def root_file(config_name: str, config_dir: Path | None = None) -> Path:
    """The file of a root configuration; the user's folder first.

    Example:
        >>> root_file("fusion_bench").name
        'fusion_bench.yaml'
    """
    folders = [folder for folder in (config_dir, CONFIG_DIR) if folder is not None]
    for folder in folders:
        path = folder / f"{config_name}.yaml"
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise unknown_name("root configuration", config_name, known)


@contextmanager
def _main_folder(root: Path, config_dir: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Hydra's main folder, and the override that names the others.

    Hydra looks in the main folder first and wants the root configuration there. With a folder of the user's, which
    seldom has one, a copy of the root stands alone in the main folder: so the user's files come before the shipped.
    """
    if config_dir is None:
        yield CONFIG_DIR, []
        return
    folders = [str(folder).replace("\\", "\\\\").replace("'", "\\'") for folder in (config_dir.resolve(), CONFIG_DIR)]
    listed = ",".join(f"'file://{folder}'" for folder in folders)
    with tempfile.TemporaryDirectory(prefix="fusion_bench-") as name:
        shutil.copy(root, Path(name) / root.name)
        yield Path(name), [f"hydra.searchpath=[{listed}]"]


def _missing(content: Any) -> list[str]:
    given = content if isinstance(content, dict) else {}
    return [group for group in registry.GROUPS if not isinstance(given.get(group), dict)]


def _check_names(overrides: Sequence[str], config_dir: Path | None) -> None:
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key in registry.GROUPS:
            registry.read_config(key, value, config_dir=config_dir)  # an error in it names the file


def _quoted(override: str) -> str:
    """A group's choice in quotes where Hydra's grammar has no such word: file names may be of any script.

    Example:
        >>> _quoted("algorithm=合併"), _quoted("algorithm=ties"), _quoted("algorithm.between=[a,b]")
        ("algorithm='合併'", 'algorithm=ties', 'algorithm.between=[a,b]')
    """
    key, equals, value = override.partition("=")
    if not equals or key not in registry.GROUPS or re.fullmatch(r"[A-Za-z0-9_./\\:-]+", value):
        return override
    return f"{key}={_in_quotes(value)}"


def _in_quotes(value: str) -> str:
    # a backslash counts only in front of a quote, and the value ends with one
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def _explained(error: Exception, overrides: Sequence[str], config_dir: Path | None) -> FusionBenchError:
    """Hydra's complaint in one sentence, with the nearest key where a key was wrong."""
    from hydra.errors import OverrideParseException

    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return FusionBenchError(
            f"{key}: the value {value} cannot be read",
            hint=f'text with other letters and signs than A-Z needs quotes of its own: "{key}={_in_quotes(value)}"',
        )
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
