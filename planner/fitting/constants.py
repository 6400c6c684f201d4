"""Constants that a fit may move: which figures of which files, and what each is held near.

Knows where figures stand in profiles and families of stacks; no run and no price.

Parts: `Constant`, `figure_at`, `scaled_profile`, `scaled_stack`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hardware_profiles.schema import HardwareProfile
from hardware_profiles.stack import Family, Stack

__all__ = ["Constant", "figure_at", "scaled_profile", "scaled_stack"]

FAMILIES = "families/"
"""What the file of a family of stacks starts with; every other file is a machine's profile."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant: a factor on the figures that it names.

    Parameters
    ----------
    name   : what it is called in reports
    files  : where its figures stand: profiles by name, families of stacks as `families/<name>`
    paths  : the figures, dotted (`network.0.efficiency`); those that a file lacks are passed over
    priors : what kernel measurements or a description give for each figure
    spread : standard deviation of the factor's logarithm before any run is seen
    top    : no figure passes it; the default is for shares
    """

    name: str
    files: tuple[str, ...]
    paths: tuple[str, ...]
    priors: tuple[float, ...]
    spread: float = 0.15
    top: float = 0.95

    @property
    def of_stacks(self) -> bool:
        """Whether its figures stand in families of stacks."""
        return self.files[0].startswith(FAMILIES)

    @property
    def most(self) -> float:
        """Factor from which every figure is at its top."""
        return max(self.top / prior for prior in self.priors)

    def values(self, factor: float) -> tuple[float, ...]:
        """Return the figures at a factor."""
        return tuple(min(self.top, prior * factor) for prior in self.priors)

    def place(self, data: object, factor: float) -> None:
        """Set its figures in a dumped profile or family, or in the mapping of a file."""
        for path, value in zip(self.paths, self.values(factor), strict=True):
            figure = figure_at(data, path)
            if figure is not None:
                figure["value"] = value


def figure_at(data: object, path: str) -> dict[str, object] | None:
    """Return the figure at a dotted path of nested mappings and lists, None where there is none."""
    here = data
    for part in path.split("."):
        if isinstance(here, list | tuple) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        elif isinstance(here, dict) and part in here:
            here = here[part]
        else:
            return None
    return here if isinstance(here, dict) and "value" in here else None


def scaled_profile(
    profile: HardwareProfile, constants: Iterable[Constant], factors: Mapping[str, float]
) -> HardwareProfile:
    """Return the profile with its constants times their factors."""
    data = profile.model_dump()
    for constant in constants:
        if profile.name in constant.files:
            constant.place(data, factors[constant.name])
    return HardwareProfile.model_validate(data)


def scaled_stack(
    stack: Stack, constants: Iterable[Constant], factors: Mapping[str, float]
) -> Stack:
    """Return the stack with the constants of its family times their factors."""
    data = stack.family.model_dump()
    for constant in constants:
        if FAMILIES + stack.family.name in constant.files:
            constant.place(data, factors[constant.name])
    return stack.model_copy(update={"family": Family.model_validate(data)})
