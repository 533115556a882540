"""What a YAML file says of one task of the harness."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_Name = Annotated[str, Field(min_length=1)]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class HarnessTaskConfig(BaseModel):
    """One task: which of the harness, and what of it counts.

    Attributes:
        task: as the harness calls it.
        metric: that the task is scored by; the first that it lists when None.
        filter: of the model's answers, which the metric is taken after; the first that the task lists when None.
        num_fewshot: examples in the prompt; the task's own number when None.
        right_or_wrong: whether every example is either right (1) or wrong (0) by this metric. None: that is so of
            ``acc``, ``acc_norm``, ``acc_bytes``, ``acc_mutual_info`` and ``exact_match`` where the harness computes
            them itself, and not known where a task brings a function of its own.
        data: a folder, or a data set of the hub that was fetched, with the Parquet files of the task's data, in place
            of the harness' own way to it: the same repository at a revision that is pinned.
        subset, revision: of ``data``; the configuration that the task names when None.
        test_size: how many examples this was written for.
        expert: whose task it is: the name of an expert, or several, the first that a model pool has counting. Where a
            pool has none of them the task has no expert, but for one of its own name.

    Example:
        >>> HarnessTaskConfig(task="gsm8k", metric="exact_match", filter="flexible-extract").num_fewshot is None
        True
    """

    model_config = ConfigDict(extra="forbid")
    task: str = Field(min_length=1)
    metric: str | None = None
    filter: str | None = None
    num_fewshot: int | None = Field(default=None, ge=0)
    right_or_wrong: bool | None = None
    data: str | None = None
    subset: str | None = None
    revision: str | None = None
    test_size: int | None = Field(default=None, ge=1)
    expert: Annotated[tuple[_Name, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> HarnessTaskConfig:
        if self.data is None and (self.revision is not None or self.subset is not None):
            raise ValueError("revision and subset are of data, which is not given")
        return self
