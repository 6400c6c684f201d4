"""What a named release of a framework sets beside its preset: the recipes that it ships.

A job's `software.runtime` is free text. Where it begins with a framework of the folder `runtimes`,
and a release follows, the framework's recipes for the job's model, machine and precision take the
place of the preset's switches; the job's own switches go before both. Knows names only: no job.

Parts: `Recipe`, `Runtime`, `recipes_of`, `with_recipes`, `recompute_of`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from hardware_profiles.stack import AttentionKernels, Stack, Switches

__all__ = ["Recipe", "Runtime", "recipes_of", "recompute_of", "with_recipes"]

Recompute = str | Mapping[str, int | tuple[str, ...]]

_FOLDER = Path(__file__).parent / "runtimes"


class Recipe(BaseModel):
    """Settings of some releases for some jobs.

    Parameters
    ----------
    since, before     : releases that have it, the last one excluded; empty: without end
    models            : their names begin so, letters and digits alone compared; empty: any
    machines, precisions : names; empty: any
    switches          : of `Switches`, by name
    attention_kernels : generation of the fused attention kernels
    recompute         : as a job's strategy says it: none, {full: 5}, {selective: [moe_act]}
    source            : where the framework says so
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str = ""
    before: str = ""
    models: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    switches: Mapping[str, bool] = {}
    attention_kernels: AttentionKernels | None = None
    recompute: Recompute | None = None
    source: str

    def holds(self, release: str, model: str, machine: str, precision: str) -> bool:
        """Whether a release runs a job by this recipe; one that is not named is the latest."""
        number = _number(release)
        if number and not _number(self.since) <= number:
            return False
        if self.before and not (number and number < _number(self.before)):
            return False
        if self.models and not any(_plain(model).startswith(_plain(one)) for one in self.models):
            return False
        if self.machines and machine not in self.machines:
            return False
        return not self.precisions or precision in self.precisions


class Runtime(BaseModel):
    """A framework and its recipes, a later one before an earlier one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recipes: tuple[Recipe, ...]


def _number(release: str) -> tuple[int, ...]:
    """Numbers of a release, to compare: 26.06.01 is (26, 6, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", release))


def _words(text: str) -> list[str]:
    """Split at spaces and signs: "Megatron-Bridge 26.06, FP8" is megatron, bridge, 26.06, fp8."""
    return re.findall(r"[a-z0-9]+(?:\.[a-z0-9]+)*", text.lower())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _runtimes() -> tuple[Runtime, ...]:
    yaml = YAML(typ="safe")
    files = sorted(_FOLDER.glob("*.yaml"))
    return tuple(Runtime.model_validate(yaml.load(path.read_text("utf-8"))) for path in files)


def recipes_of(runtime: str | None, model: str, machine: str, precision: str) -> tuple[Recipe, ...]:
    """Return the recipes by which a framework of a release runs a job; none where it is unknown.

    Parameters
    ----------
    runtime : the framework, and its release if one follows: "Megatron-Bridge 26.06"

    >>> [dict(one.switches) for one in recipes_of("Composer FSDP, bf16", "mpt-7b", "l40s", "bf16")]
    [{}, {'fused_loss': True}]
    """
    said = _words(runtime or "")
    if not said:
        return ()  # and no file is read
    for known in _runtimes():
        name = _words(known.name)
        if said[: len(name)] == name:
            after = said[len(name)] if len(said) > len(name) else ""
            release = after if after[:1].isdigit() else ""
            return tuple(
                one for one in known.recipes if one.holds(release, model, machine, precision)
            )
    return ()


def with_recipes(stack: Stack, recipes: Sequence[Recipe]) -> Stack:
    """Return a stack with the settings of recipes in the place of its own."""
    if not recipes:
        return stack
    switches: dict[str, bool] = {}
    kernels = stack.attention_kernels
    for recipe in recipes:
        switches |= recipe.switches
        kernels = recipe.attention_kernels or kernels
    made = Switches.model_validate(stack.switches.model_dump() | switches)
    return stack.model_copy(update={"switches": made, "attention_kernels": kernels})


def recompute_of(recipes: Sequence[Recipe]) -> Recompute | None:
    """Return what recipes recompute, the last one's word; None where none says."""
    said = [recipe.recompute for recipe in recipes if recipe.recompute is not None]
    return said[-1] if said else None
