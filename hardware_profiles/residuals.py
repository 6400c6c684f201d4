"""How far predictions missed runs whose whole source was left out of the fit.

One small table for all: a scale of |log(predicted / measured)|, by family of stacks, what widens
it, and the quantiles of errors in that scale. `benchmarks/accuracy/fit_intervals.py` writes the
file. Knows no plan.

Parts: `Cell`, `Residuals`, `load_residuals`.
"""

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from hardware_profiles.schema import Figure

__all__ = ["PATH", "Cell", "Residuals", "load_residuals"]

PATH = Path(__file__).parent / "residuals" / "step_time.yaml"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """Measured runs that are alike: how many, of which sources, on how many devices at most."""

    family: str
    chip: str
    precision: str
    experts: bool
    runs: Annotated[int, Field(ge=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    devices: Annotated[float, Field(ge=1)]


class Residuals(_Frozen):
    """Errors of left-out runs.

    Parameters
    ----------
    coverage     : share of comparable runs inside an interval
    scale        : typical |log(predicted / measured)| of a dense run like those measured
    families     : factor on it of each family of stacks
    wider        : factor on it of what is unlike the runs; of `doublings`, for each
    above, below : how far predictions are too high, too low, in scales, at the coverage
    cells        : the runs
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    scale: Figure
    families: dict[str, Figure]
    wider: dict[str, Figure]
    above: Figure
    below: Figure
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]


@cache
def load_residuals() -> Residuals:
    """Read the table that ships."""
    return Residuals.model_validate(YAML(typ="safe").load(PATH.read_text(encoding="utf-8")))
