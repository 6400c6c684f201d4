"""Read the `config.json` of a Hugging Face model into a `ModelConfig`.

Families are in `families`; an unknown `model_type` with the common keys is read as llama-like. Of
a model with other senses the language model is read (its `text_config`), and the vision tower where
`vision` knows it. Nothing is
downloaded and no code of the model is run. Whatever the file holds, the only error is `SpecError`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from planner.errors import SpecError
from planner.importers.families import FAMILIES, like_llama
from planner.importers.fields import Fields
from planner.importers.vision import other_senses
from planner.models.config import ModelConfig

__all__ = ["from_mapping", "read_config"]

_LARGEST_BYTES = 16_000_000
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")


def read_config(path: Path) -> ModelConfig:
    """Architecture of the model that the Hugging Face `config.json` at `path` describes.

    Raises
    ------
    SpecError : the file cannot be read, is not JSON, or does not describe a model that we can say;
                names the file and the key
    """
    raw = _parse(path)
    return from_mapping(raw, file=str(path), name=_name(raw, path))


def from_mapping(raw: Mapping[str, object], *, file: str = "", name: str = "custom") -> ModelConfig:
    """Architecture that the parsed `config.json` `raw` describes (see `read_config`)."""
    whole = Fields(raw, file)
    fields = _language_model(whole)
    reader = FAMILIES.get(fields.text("model_type"), like_llama)
    try:
        shape = {"name": name} | other_senses(whole) | reader(fields)
        return ModelConfig.model_validate(shape)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        said = f"{where}: {message}" if where else message
        raise SpecError(f"this is no model: {said}", file=file) from None


def _language_model(fields: Fields) -> Fields:
    """Find the nested language model of a model with other senses; its keys win."""
    if fields.has("num_hidden_layers"):
        return fields
    for key in _TEXT_CONFIGS:
        nested = fields.nested(key)
        if nested is not None:
            own = {
                k: v for k, v in fields.raw.items() if k in ("model_type", "tie_word_embeddings")
            }
            return Fields(own | dict(nested.raw), fields.file, key)
    return fields


def _name(raw: Mapping[str, object], path: Path) -> str:
    """Name the model: what the file says, else its folder's or its own name."""
    said = raw.get("_name_or_path")
    if isinstance(said, str) and said.strip("/ "):
        return said.strip("/ ").split("/")[-1][:100]
    folder = path.absolute().parent.name
    return (folder if path.name == "config.json" and folder else path.stem) or "custom"


def _parse(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise SpecError(f"is larger than {_LARGEST_BYTES} bytes", file=str(path))
        raw = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", file=str(path)) from None
    except json.JSONDecodeError as error:
        raise SpecError(f"is not JSON: {error.msg}", file=str(path), line=error.lineno) from None
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text", file=str(path)) from None
    except RecursionError:
        raise SpecError("is nested too deeply", file=str(path)) from None
    except ValueError as error:
        raise SpecError(f"is not JSON: {str(error)[:80]}", file=str(path)) from None
    if not isinstance(raw, dict):
        raise SpecError("must be a JSON mapping, as a config.json is", file=str(path))
    return raw
