"""What a card says of one task of texts."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TextTaskConfig(BaseModel):
    """One task: where its data is, how its columns become an input, and what its classes and answers are.

    Attributes:
        data, subset, revision: a folder with ``<split>.parquet``, or a data set of the hub.
        columns: of the texts: one, or the two of a pair in the order that a tokenizer is given them.
        template: the prompt, with the names of columns in braces.
        classes: names in label order, held against the data's own.
        answers: what a model should write for each of them.
        label_column: of the labels.
        splits: what the data calls our splits, where it does otherwise: ``{test: validation}``.
        held_out: shares of the training split that are our splits (see ``datasets.stored``).
        test_size: how many test examples the card was written for.
        metric: what the task is scored by: right classes, or ``spearman``, the rank correlation of a number that a
            model writes, or gives through a head, with the label.
        also: what is told of predicted classes beside that: ``matthews``, see ``metrics.scores``.

    Example:
        >>> TextTaskConfig(data="a/b", columns=("text",), classes=("no", "yes"), template="Is it so? {text}",
        ...                answers=("no", "yes")).prompt({"text": "It is."})
        'Is it so? It is.'
    """

    model_config = ConfigDict(extra="forbid")
    data: str
    subset: str | None = None
    revision: str | None = None
    columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    template: str | None = None
    classes: tuple[str, ...] | None = None
    answers: tuple[str, ...] | None = None
    label_column: str = "label"
    splits: dict[str, str] = Field(default_factory=dict)
    held_out: dict[str, float] | None = None
    test_size: int | None = Field(default=None, ge=1)
    metric: Literal["accuracy", "spearman"] = "accuracy"
    also: tuple[Literal["matthews"], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TextTaskConfig:
        if self.metric == "accuracy" and (self.classes is None or len(set(self.classes)) < max(2, len(self.classes))):
            raise ValueError("a task needs at least two classes, each with a name of its own")
        if self.also and self.metric != "accuracy":
            raise ValueError(f"also: {self.also[0]} is of classes, and the task is scored by {self.metric}")
        if self.answers is not None:
            stripped = [answer.strip() for answer in self.answers]
            if not all(stripped) or len(set(stripped)) < len(stripped) or len(stripped) != len(self.classes or ()):
                raise ValueError("answers: one for each class, in their order, no two alike, none empty")
        if self.template is not None:
            fields = [field for _, field, _, _ in string.Formatter().parse(self.template) if field is not None]
            strange = [field for field in fields if field not in self.columns]
            if strange or not fields:
                named = f"names {strange[0]!r}" if strange else "names none"
                raise ValueError(f"template {named} of the columns {', '.join(self.columns)}")
        return self

    def prompt(self, texts: dict[str, str]) -> str:
        """The input of one example, from its texts by column."""
        return (self.template or "").format_map(texts)

    def prompts(self, texts: Mapping[str, list[str]]) -> list[str]:
        """The inputs of several examples, from their texts by column."""
        return [self.prompt(dict(zip(texts, row, strict=True))) for row in zip(*texts.values(), strict=True)]
