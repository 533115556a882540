"""What a card says of one task of dense prediction."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DenseTaskConfig(BaseModel):
    """One task: where its data is, and what its maps mean.

    Attributes:
        data, subset, revision: a folder with ``<split>.parquet``, or a data set of the hub.
        kind: what is said of a pixel: a class (``segmentation``), metres (``depth``), a direction (``normal``).
        column: of the maps, ``(h, w)`` or ``(channels, h, w)``.
        image_column: of the pictures, float ``(3, h, w)`` in [0, 1] or uint8.
        classes: of a segmentation, in the order of its labels.
        ignored: the label of pixels without one, of a segmentation; -1 where nothing is said.
        splits: what the data calls our splits, where it does otherwise: ``{test: val}``.
        held_out: shares of the training split that are our splits (see ``datasets.stored``).
        test_size: how many test examples the card was written for.

    Example:
        >>> DenseTaskConfig(data="a/b", kind="segmentation", column="labels", classes=("floor", "wall")).void
        -1
    """

    model_config = ConfigDict(extra="forbid")
    data: str
    subset: str | None = None
    revision: str | None = None
    kind: Literal["segmentation", "depth", "normal"]
    column: str
    image_column: str = "image"
    classes: tuple[str, ...] | None = None
    ignored: int | None = None
    splits: dict[str, str] = Field(default_factory=dict)
    held_out: dict[str, float] | None = None
    test_size: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> DenseTaskConfig:
        segments = self.kind == "segmentation"
        if segments and (self.classes is None or len(set(self.classes)) < max(2, len(self.classes))):
            raise ValueError("a segmentation needs at least two classes, each with a name of its own")
        if not segments and self.classes is not None:
            raise ValueError(f"{self.kind} has no classes")
        if not segments and self.ignored is not None:
            raise ValueError(f"{self.kind} has no labels to ignore: 0 stands for nothing known")
        return self

    @property
    def void(self) -> int:
        """The label of pixels without one."""
        return -1 if self.ignored is None else self.ignored
