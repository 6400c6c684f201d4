"""What ships: machines, models and targets, as data and as tables.

Parts: `systems`, `models`, `targets` return plain data; `catalogue_section` draws any of them.
"""

from collections.abc import Mapping, Sequence

from planner.report.content import Column, Section, Table
from planner.report.numbers import label, quantity

__all__ = ["catalogue_section", "models", "systems", "targets"]

Row = Mapping[str, object]


def systems() -> list[Row]:
    """Return the shipped machines, each with the figures that tell them apart."""
    from hardware_profiles.load import load, names

    return [
        {
            "name": name,
            "accelerator": profile.accelerator,
            "memory_bytes": profile.memory_bytes.value,
            "memory_bytes_per_s": profile.memory_bytes_per_s.value,
            "bf16_flop_per_s": profile.peak_flop_per_s["bf16"].value,
            "node_devices": profile.network[0].devices,
            "node_link_bytes_per_s": profile.network[0].bytes_per_s.value,
            "usd_per_device_hour": profile.usd_per_device_hour.value,
        }
        for name, profile in ((name, load(name)) for name in names())
    ]


def models() -> list[Row]:
    """Return the shipped models, each with its shape, its counted parameters and its source."""
    from planner.models.count import count
    from planner.models.load import card, names

    return [
        {
            "name": name,
            "family": found.family,
            "parameters": count(found.config).total,
            "active_parameters": count(found.config).active,
            "layers": found.config.layers,
            "hidden": found.config.hidden,
            "experts": found.config.moe.experts if found.config.moe else 0,
            "source": found.source,
        }
        for name, found in ((name, card(name)) for name in names())
    ]


def targets() -> list[Row]:
    """Return the frameworks that a plan can be written for, and the version that was checked."""
    from planner.emit import EMITTERS

    return [{"name": name, "checked_with": one.TARGET} for name, one in EMITTERS.items()]


def catalogue_section(title: str, rows: Sequence[Row], hide: Sequence[str] = ()) -> Section:
    """Return rows of the same keys as a table; `hide` names keys that only the data give."""
    keys = [key for key in (rows[0] if rows else {}) if key not in hide]
    figures = [any(isinstance(row[key], int | float) for row in rows) for key in keys]
    columns = tuple(
        Column(_TITLES.get(key, label(key)), right=figure)
        for key, figure in zip(keys, figures, strict=True)
    )
    cells = tuple(tuple(quantity(key, row[key]) for key in keys) for row in rows)
    return Section("", title, table=Table(columns, cells))


_TITLES = {
    "bf16_flop_per_s": "bf16 peak",
    "memory_bytes_per_s": "bandwidth",
    "node_devices": "node",
    "node_link_bytes_per_s": "link",
    "usd_per_device_hour": "price",
    "active_parameters": "active",
}
