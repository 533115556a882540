"""The options that many methods share: one name, one type, one range each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from fusion_bench.errors import FusionBenchError, unknown_name

if TYPE_CHECKING:
    from fusion_bench.weights.rule import Scan

Made = TypeVar("Made")

Finite: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]

Scaling: TypeAlias = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, description="factor λ on the merged task vector; negative subtracts"),
]
Density: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=1, description="share of entries kept, in (0, 1]")]
Position: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1, description="position t on a path, in [0, 1]")]
Seed: TypeAlias = Annotated[int, Field(strict=True, ge=0, description="seed of the method's random choices")]
Weights: TypeAlias = Annotated[
    tuple[Finite, ...] | dict[str, Finite] | None,
    Field(description="one number per expert: a list in the pool's order, or by name; null means equal"),
]
Pair: TypeAlias = Annotated[
    tuple[str, str] | None,
    Field(description="the two models; 'base' may be one; null means the pool's first two experts"),
]


def checked(name: str, value: Any, kind: Any) -> Any:
    """``value`` if it is a valid ``kind`` (one of the types above), for values that stand in no class.

    Raises:
        FusionBenchError: it is not; says what the range is.

    Example:
        >>> checked("density", 2.0, Density)
        Traceback (most recent call last):
        ...
        fusion_bench.errors.FusionBenchError: density = 2.0: input should be less than or equal to 1
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise FusionBenchError(f"{name} = {value!r}: {reason[0].lower()}{reason[1:]}") from None


def made(kind: Callable[..., Made], **options: Any) -> Made:
    """An algorithm with these options, for functions that are called without a class.

    Raises:
        FusionBenchError: an option is not valid; says what the range is.

    Example:
        >>> made(lambda **options: options, density=0.2)
        {'density': 0.2}
    """
    try:
        return kind(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name, reason, value = str(first["loc"][0]), first["msg"], first["input"]
        name += "".join(f"[{part}]" for part in first["loc"][1:] if isinstance(part, int))
        raise FusionBenchError(f"{name} = {value!r}: {reason[0].lower()}{reason[1:]}") from None


def weights_by_name(names: Sequence[str], weights: Sequence[float] | Mapping[str, float] | None) -> dict[str, float]:
    """One weight per expert, by name, normalised to sum to one.

    Args:
        names: the experts, in the order a list of weights refers to.
        weights: a list, a mapping of every name, or ``None`` for equal weights.

    Raises:
        FusionBenchError: wrong number of weights, an unknown or missing name, a non-finite weight, or a sum of zero.

    Example:
        >>> weights_by_name(["mnist", "svhn"], [3, 1])
        {'mnist': 0.75, 'svhn': 0.25}
    """
    if weights is None:
        weights = [1.0] * len(names)
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in names:
                raise unknown_name("expert", name, names, where="weights")
        missing = [name for name in names if name not in weights]
        if missing:
            raise FusionBenchError(
                f"weights has none for {', '.join(missing)}", hint="give one per expert, 0 to leave out"
            )
        raw = {name: checked(f"weights[{name!r}]", weights[name], Finite) for name in names}
    else:
        if len(weights) != len(names):
            raise FusionBenchError(
                f"weights has {len(weights)} numbers for {len(names)} experts",
                hint=f"in this order: {', '.join(names)}",
            )
        raw = {
            name: checked(f"weights[{i}]", w, Finite) for i, (name, w) in enumerate(zip(names, weights, strict=True))
        }
    total = sum(raw[name] for name in sorted(raw))
    if total == 0:
        raise FusionBenchError(f"weights {list(raw.values())} sum to zero", hint="they are normalised to sum to one")
    return {name: weight / total for name, weight in raw.items()}


def raw_weights(scan: Scan, weights: Sequence[float] | Mapping[str, float] | None) -> list[float]:
    """One weight per expert in the order of their names, as given; 1 each where there are none."""
    if weights is None:
        return [1.0] * len(scan.experts)
    share = weights_by_name(scan.given, weights)
    total = math.fsum(weights.values() if isinstance(weights, Mapping) else weights)
    return [share[name] * total for name in scan.experts]


def choose_pair(names: Sequence[str], between: tuple[str, str] | None) -> tuple[str, str]:
    """The two models that a path runs between.

    Args:
        names: the pool's experts, in its order.
        between: two of them, or ``"base"`` and one; ``None`` takes the first two.

    Raises:
        FusionBenchError: an unknown name, the same model twice, or fewer than two experts to take by default.

    Example:
        >>> choose_pair(["mnist", "svhn", "cars"], None), choose_pair(["mnist", "svhn"], ("base", "svhn"))
        (('mnist', 'svhn'), ('base', 'svhn'))
    """
    if between is None:
        if len(names) < 2:
            raise FusionBenchError(
                f"interpolation needs two models, the pool has {len(names)} expert(s): {', '.join(names)}",
                hint="name two in 'between', for instance between: [base, ...]",
            )
        return names[0], names[1]
    for name in between:
        if name not in names and name != "base":
            raise unknown_name("expert", name, [*names, "base"], where="between")
    if between[0] == between[1]:
        raise FusionBenchError(f"between names {between[0]!r} twice", hint="name two different models")
    return between
