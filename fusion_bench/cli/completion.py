"""Shell completion: the shell asks ``fusion_bench --complete WORD``, which answers from YAML names alone."""

from __future__ import annotations

from fusion_bench import registry
from fusion_bench.cli.parser import COMMANDS

OPTIONS = (
    "--cfg --completion --config-name --config-path --device --help --multirun --plugin --precision --report --resume "
    "--save-models --seed --tracking-uri --version"
).split()

_SCRIPTS = {
    "bash": """_fusion_bench() {
    local word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
    local found; found=$(fusion_bench --complete "$word" 2>/dev/null)
    # bash breaks words at "=": only what follows it may be offered
    local cut=""; [[ "$word" == *=* ]] && cut="${word%=*}="
    COMPREPLY=(); local line
    for line in $found; do COMPREPLY+=("${line#"$cut"}"); done
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -F _fusion_bench fusion_bench
""",
    "zsh": """#compdef fusion_bench
_fusion_bench() {
    local -a found; found=(${(f)"$(fusion_bench --complete "${words[CURRENT]}" 2>/dev/null)"})
    compadd -S '' -- $found
}
compdef _fusion_bench fusion_bench
""",
    "fish": """complete -c fusion_bench -f -a '(fusion_bench --complete (commandline -ct))'
""",
}


def script(shell: str) -> str:
    """What to evaluate: ``eval "$(fusion_bench --completion bash)"``."""
    return _SCRIPTS[shell]


def complete(word: str) -> list[str]:
    """The continuations of a word.

    Example:
        >>> complete("algorithm=task")
        ['algorithm=task_arithmetic']
        >>> complete("algor")
        ['algorithm=']
    """
    key, equals, start = word.partition("=")
    if equals and key in registry.GROUPS:
        head, comma, last = start.rpartition(",")  # a sweep's earlier names stay
        return [f"{key}={head}{comma}{name}" for name in registry.names(key) if name.startswith(last)]
    if word.startswith("-"):
        return [option for option in OPTIONS if option.startswith(word)]
    group, dot, field = word.partition(".")
    if dot and group in registry.GROUPS:
        fields = {f for name in registry.names(group) for f in registry.read_config(group, name)} - registry.DESCRIPTION
        return sorted(f"{group}.{f}=" for f in fields if f.startswith(field))
    words = [*(f"{group}=" for group in registry.GROUPS), "device=", "seed=", *COMMANDS]
    return [candidate for candidate in words if candidate.startswith(word)]
