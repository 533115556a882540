"""What a YAML file says about one task."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TaskConfig(BaseModel):
    """One task of the YAML: where its data is, and what its classes are called."""

    model_config = ConfigDict(extra="forbid")
    data: str
    subset: str | None = None
    revision: str | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] = ("a photo of a {}",)
    column: str | tuple[str, ...] | None = None
    label_column: str | tuple[str, ...] = "label"
    splits: dict[str, str] = Field(default_factory=dict)
    held_out: dict[str, float] | None = None
    test_size: int | None = Field(default=None, ge=1)

    @field_validator("templates")
    @classmethod
    def _each_has_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        if not templates or any("{}" not in template for template in templates):
            raise ValueError("every template needs {} where the class name goes")
        return templates
