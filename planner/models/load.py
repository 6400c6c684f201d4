"""Model presets: the architectures of published models by name, one family a file.

A family file maps preset names to the keys of `ModelConfig` and three of its own: `source` (where
shapes and counts are published), `parameters` and `active` (the published counts: an integer is
exact, text like 6.7B is rounded or cut to its last digit, null is unpublished). Or to `same_as`
(the preset that has the same shapes) and `source`. Only the lines of the preset that is asked for
are parsed. Knows files, not what a model costs.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from planner.errors import InternalError, SpecError
from planner.models.config import ModelConfig

__all__ = ["Card", "card", "load", "names"]

_FOLDER = Path(__file__).parent
_ENTRY = re.compile(r"^([a-z0-9][a-z0-9.\-]*):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Card:
    """A preset as its file gives it.

    Parameters
    ----------
    config     : the architecture
    family     : name of the file
    parameters : published count; an int is exact, text ("6.7B") is rounded or cut to its last
                 digit, None is not published
    active     : published count of the parameters that one token uses, for experts; or None
    source     : where shapes and counts are published
    """

    config: ModelConfig
    family: str
    parameters: int | str | None
    active: int | str | None
    source: str


def names() -> tuple[str, ...]:
    """Names of all presets, by family and then as the file orders them."""
    return tuple(name for text in _families().values() for name in _ENTRY.findall(text))


def load(name: str) -> ModelConfig:
    """Architecture of the preset `name`.

    Raises
    ------
    SpecError : no such preset; names the nearest one

    >>> load("llama-3.1-70b").layers
    80
    """
    return card(name).config


def card(name: str) -> Card:
    """Architecture, published counts and source of the preset `name` (SpecError: no such one)."""
    for family, text in _families().items():
        block = _block(text, name)
        if block is not None:
            return _read(name, family, block)
    raise SpecError(f"no model preset {name!r}; {_hint(name)}", key="workload.model")


def _families() -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.yaml"))}


def _block(text: str, name: str) -> str | None:
    """Cut the lines of one preset: from its name to the next line that starts with one."""
    start = re.search(rf"^{re.escape(name)}:", text, re.MULTILINE)
    if start is None or not _ENTRY.fullmatch(start.group()):
        return None
    end = _ENTRY.search(text, start.end())
    return text[start.start() : end.start() if end else len(text)]


def _read(name: str, family: str, block: str) -> Card:
    try:
        raw = YAML(typ="safe").load(block)[name]
        if "same_as" in raw:
            twin = card(raw["same_as"])
            config = twin.config.model_copy(update={"name": name})
            return Card(config, family, twin.parameters, twin.active, raw["source"])
        return _card(name, family, raw)
    except (YAMLError, ValidationError, KeyError, TypeError) as error:
        raise InternalError(f"preset {name} in models/{family}.yaml is broken: {error}") from error


def _card(name: str, family: str, raw: Mapping[str, object]) -> Card:
    own = ("source", "parameters", "active")
    config = ModelConfig.model_validate(
        {"name": name} | {key: value for key, value in raw.items() if key not in own}
    )
    parameters, active = raw["parameters"], raw.get("active")
    if not isinstance(parameters, int | str | None) or not isinstance(active, int | str | None):
        raise TypeError(f"parameters {parameters!r}, active {active!r}: give an int or text")
    return Card(config, family, parameters, active, str(raw["source"]))


def _hint(name: str) -> str:
    known = names()
    longer = [one for one in known if name and one.startswith(name.lower())]
    nearest = longer or difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    guess = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{guess}`sixfold models` lists all {len(known)}"
