"""Types of single fields that the sections of a job share: counts, rates, shares, choices.

Each bounds its numbers so that absurd input is refused at the door. Knows no section.
"""

from typing import Annotated, Literal, TypeVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "MAX_COUNT",
    "MAX_DEVICES",
    "Axis",
    "Choice",
    "Count",
    "Devices",
    "Name",
    "NotNegative",
    "Positive",
    "Precision",
    "Probability",
    "Section",
    "Share",
    "Whole",
    "whole",
]

MAX_DEVICES = 10_000_000
MAX_COUNT = 1_000_000_000
MAX_REAL = 1e30

T = TypeVar("T")


class Section(BaseModel):
    """A frozen mapping of the job file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def whole(value: object) -> object:
    """Read a whole float (`1.0e3`) as the integer it is; leave everything else to pydantic."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, Field(ge=1, le=MAX_COUNT), BeforeValidator(whole)]
"""A whole number from 1; `1.0e3` is 1000."""

Whole = Annotated[int, Field(ge=0, le=MAX_COUNT), BeforeValidator(whole)]
"""A whole number from 0."""

Devices = Annotated[int, Field(ge=1, le=MAX_DEVICES), BeforeValidator(whole)]
"""A number of devices, or a degree of parallelism."""

Positive = Annotated[float, Field(gt=0, le=MAX_REAL, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=MAX_REAL, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

Choice = Union[T, Annotated[tuple[T, ...], Field(min_length=1)], None]  # noqa: UP007
"""One pinned value, a list of allowed values, or None: free to be searched."""

Precision = Literal["fp32", "fp16", "bf16", "fp8", "mxfp8", "mxfp4", "nvfp4", "int8", "int4"]
Axis = Literal["tp", "cp", "dp", "pp", "ep", "etp"]
