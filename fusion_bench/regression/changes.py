"""What is not the same as when a baseline was made: configuration, data, versions, machine, commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_bench.regression.baseline import Baseline

_ABSENT = "absent"


def changes(baseline: Baseline, now: Baseline) -> list[str]:
    """One line for each thing that changed, what a person looks at first in front.

    Example:
        >>> differing({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
        [('a.b', 1, 3)]
    """
    lines = [f"{name}: {old} → {new}" for name, old, new in differing(baseline.config, now.config)]
    lines += [f"the examples of {task} are others" for task in changed_data(baseline, now)]
    lines += [f"the task {task} is new" for task in now.outcomes if task not in baseline.outcomes]
    lines += [f"the trial {name} is new" for name in now.trials if baseline.trials and name not in baseline.trials]
    lines += [f"your own code {name}: {what}" for name, what in changed_plugins(baseline, now).items()]
    if baseline.deterministic != now.deterministic:
        lines.append(f"deterministic: {baseline.deterministic} → {now.deterministic}")
    lines += [f"{name} {old} → {new}" for name, old, new in differing(baseline.versions, now.versions)]
    if baseline.machine != now.machine:
        lines.append(f"machine: {baseline.machine} → {now.machine}")
    if baseline.commit != now.commit:
        lines.append(commit_range(baseline.commit, now.commit))
    return lines


def changed_data(baseline: Baseline, now: Baseline) -> list[str]:
    """The tasks whose evaluated examples (pictures, labels, class names, prompts) are not the baseline's."""
    return [task for task in baseline.tasks if task in now.data and baseline.data.get(task) != now.data[task]]


def changed_plugins(baseline: Baseline, now: Baseline) -> dict[str, str]:
    """The user's own modules whose files are not the baseline's, and what they were and are."""
    found = {}
    for name, old, new in differing(baseline.plugins, now.plugins):
        if old == _ABSENT:
            found[name] = f"{new}; the baseline does not say what it was"
        else:
            found[name] = f"{old} → {new}" if new != _ABSENT else f"{old}, and is not run any more"
    return found


def same_environment(baseline: Baseline, now: Baseline) -> bool:
    """Whether arithmetic can be expected to agree to the last bit: same machine, same versions."""
    ours = "fusion-bench-suite"  # its own version moves with every release and rounds nothing
    old, new = ({k: v for k, v in b.versions.items() if k != ours} for b in (baseline, now))
    return baseline.machine == now.machine and old == new


def commit_range(old: str, new: str) -> str:
    """What ``git log`` takes, with what cannot be looked up said plainly.

    Example:
        >>> commit_range("1f3c2a9d0", "8b1e77c02+")
        'commits: git log --oneline 1f3c2a9d0..8b1e77c02 -- fusion_bench, and changes that are not committed'
    """
    if not old or not new:
        return "commits: not known, one of the two ran from an installed package"
    line = f"commits: git log --oneline {old[:12].rstrip('+')}..{new[:12].rstrip('+')} -- fusion_bench"
    return line + (", and changes that are not committed" if new.endswith("+") else "")


def differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """The leaves in which two nested mappings differ: (dotted name, old value, new value)."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*old, *new]):
        first, second = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found += differing(first, second, f"{prefix}{key}.")
        elif first != second:
            found.append((f"{prefix}{key}", first, second))
    return found
