"""What a published model is beyond the sizes that a table of measured runs prints of it.

Pages of measured runs name a model and print its sizes; windows, biases, norms of queries and keys
stand in its published configuration alone. Knows the presets, and no runs.
"""

from collections.abc import Mapping

from planner.models.load import load, names

__all__ = ["completed"]


def completed(model: Mapping[str, object], *, mtp: bool = True) -> dict[str, object]:
    """Add to an inline model what the preset of its name has beside, where all else agrees.

    A model that differs from the preset in any key that it gives is a model of its own, and stays
    as it is. Not compared are the width of dense layers where all layers are mixtures of experts,
    and heads of keys and their width where keys and values are of a latent: neither is computed.

    Parameters
    ----------
    mtp : whether multi-token prediction is trained, of models that were published with it

    >>> given = {"name": "gpt-oss-20b", "layers": 24, "hidden": 2880, "heads": 64}
    >>> completed(given)["attention"]["window"]
    128
    >>> completed(given | {"layers": 4}) == given | {"layers": 4}
    True
    """
    given = {key: value for key, value in model.items() if value is not None}
    name = given.get("name")
    if not isinstance(name, str) or name not in names():
        return dict(model)
    preset = load(name)
    known = preset.model_dump(mode="json", exclude_none=True)
    skipped = {"ffn_hidden"} if preset.moe_layers == preset.layers else set()
    if preset.attention.kind == "mla":
        skipped |= {"kv_heads", "head_dim"}
    if not _agrees({k: v for k, v in given.items() if k not in skipped}, known):
        return dict(model)
    more = preset.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return _joined(given, {k: v for k, v in more.items() if mtp or k != "mtp_layers"})


def _agrees(given: Mapping[str, object], known: Mapping[str, object]) -> bool:
    """Whether every key given is one of the model's, with its value (null where it has none)."""
    for key, value in given.items():
        here = known.get(key)
        if isinstance(value, Mapping):
            if not isinstance(here, Mapping) or not _agrees(value, here):
                return False
        elif value is not None and value != here:
            return False
    return True


def _joined(given: Mapping[str, object], more: Mapping[str, object]) -> dict[str, object]:
    """Return the mapping with the keys of another that it lacks, through all its levels."""
    made = dict(given)
    for key, value in more.items():
        mine = made.get(key)
        if isinstance(value, Mapping) and isinstance(mine, Mapping):
            made[key] = _joined(mine, value)
        elif mine is None:
            made[key] = value
    return made
