"""A number with its source, and what kinds of numbers a profile holds.

Knows nothing of machines. Parts: `Figure`, `Positive`, `Share`, `Factor` (figures with a range),
`Frozen` (what every part of a profile is), `Basis`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Basis", "Factor", "Figure", "Frozen", "Positive", "Share"]

Basis = Literal["datasheet", "measured", "fitted", "assumed"]


class Frozen(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Frozen):
    """A number, how it is known, and where it is from (SI units, named by the field)."""

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    basis: Basis
    source: Annotated[str, Field(min_length=3)]


def _positive(figure: Figure) -> Figure:
    if figure.value <= 0:
        raise ValueError(f"must be above 0 (is {figure.value:g})")
    return figure


def _share(figure: Figure) -> Figure:
    if not 0 < figure.value <= 1:
        raise ValueError(f"must be a share, above 0 and at most 1 (is {figure.value:g})")
    return figure


def _factor(figure: Figure) -> Figure:
    if figure.value < 1:
        raise ValueError(f"must be 1 or more (is {figure.value:g})")
    return figure


Positive = Annotated[Figure, AfterValidator(_positive)]
Share = Annotated[Figure, AfterValidator(_share)]
Factor = Annotated[Figure, AfterValidator(_factor)]
