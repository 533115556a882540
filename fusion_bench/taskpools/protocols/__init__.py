"""Protocols: which fusions a case makes and evaluates, beyond one of everything on everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.taskpools.protocols.base import Group, Outcome, Protocol, Standard, Trial
from fusion_bench.taskpools.protocols.few_shot import FewShot
from fusion_bench.taskpools.protocols.growing import Growing
from fusion_bench.taskpools.protocols.sensitivity import Sensitivity
from fusion_bench.taskpools.protocols.unseen import Unseen
from fusion_bench.validation import instantiate

PROTOCOLS: dict[str, type[Protocol]] = {
    "standard": Standard,
    "few_shot": FewShot,
    "growing": Growing,
    "sensitivity": Sensitivity,
    "unseen": Unseen,
}


def read_protocol(config: Mapping[str, Any] | None, *, where: str) -> Protocol:
    """The protocol that a task pool's YAML describes: ``type`` and the fields of that type; `Standard` of None.

    Args:
        where: what errors call the YAML.

    Raises:
        FusionBenchError: no or an unknown type, an unknown field (with the nearest), or a value out of range.

    Example:
        >>> read_protocol({"type": "few_shot", "shots": [1, 5]}, where="here").shots
        (1, 5)
    """
    if config is None:
        return Standard()
    if not isinstance(config, Mapping) or not isinstance(config.get("type"), str):
        raise FusionBenchError(
            f"{where}: protocol is {config!r}", hint=f"give it a type: {', '.join(sorted(PROTOCOLS))}"
        )
    if config["type"] not in PROTOCOLS:
        raise unknown_name("protocol", config["type"], PROTOCOLS, where=where)
    fields = {key: value for key, value in config.items() if key != "type"}
    found: Protocol = instantiate(PROTOCOLS[config["type"]], fields, where=f"{where}, protocol {config['type']!r}")
    return found


__all__ = ["PROTOCOLS", "Group", "Outcome", "Protocol", "Standard", "Trial", "read_protocol"]
