"""Measured collectives as columns: read from tables, pooled over settings, split for hold-outs.

A table has the columns of nccl-tests: `system, op, num_gpus, bytes, time_s`, and others that name
the setting (library version, number format, repeat). Knows no price.

Parts: `Rows`, `read`, `read_between`, `read_switch`, `PROFILES`.
"""

import csv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.units import Column

__all__ = ["DATA", "PROFILES", "Rows", "read", "read_between", "read_switch"]

DATA = Path(__file__).parent / "data" / "collectives"
PROFILES = {
    "a100_sxm": "dgx-a100-80gb",
    "h100_sxm": "dgx-h100",
    "h200_sxm": "dgx-h200",
    "b200_sxm": "dgx-b200",
    "gb200": "gb200-nvl72",
    "l40s": "l40s",
}
"""Which shipped profile is the machine that the tables call so."""
SETTING = ("version_label", "dtype", "repeat")


@dataclass(frozen=True)
class Rows:
    """Columns: operation, ranks, bytes as nccl-tests counts them, seconds, name of the setting."""

    op: tuple[str, ...]
    ranks: Column
    size_bytes: Column
    time_s: Column
    setting: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.op)

    def where(self, kept: Callable[[str, float, float, str], bool]) -> "Rows":
        """Return the rows that `kept(op, ranks, bytes, setting)` keeps."""
        each = zip(self.op, self.ranks, self.size_bytes, self.setting, strict=True)
        return self._part([i for i, row in enumerate(each) if kept(*row)])

    def pooled(self) -> "Rows":
        """Return one row a shape: the geometric mean over its settings (named by the first)."""
        at: dict[tuple[str, float, float], list[int]] = defaultdict(list)
        for i, shape in enumerate(zip(self.op, self.ranks, self.size_bytes, strict=True)):
            at[shape].append(i)
        first = self._part([rows[0] for rows in at.values()])
        mean_s = [float(np.exp(np.mean(np.log(self.time_s[rows])))) for rows in at.values()]
        return Rows(first.op, first.ranks, first.size_bytes, np.array(mean_s), first.setting)

    def plus(self, other: "Rows") -> "Rows":
        """Return both, these first."""
        return Rows(
            self.op + other.op,
            np.concatenate([self.ranks, other.ranks]),
            np.concatenate([self.size_bytes, other.size_bytes]),
            np.concatenate([self.time_s, other.time_s]),
            self.setting + other.setting,
        )

    def _part(self, rows: list[int]) -> "Rows":
        return Rows(
            tuple(self.op[i] for i in rows),
            self.ranks[rows],
            self.size_bytes[rows],
            self.time_s[rows],
            tuple(self.setting[i] for i in rows),
        )


def _of(table: list[dict[str, str]], setting: Callable[[dict[str, str]], str]) -> Rows:
    return Rows(
        tuple(row["op"] for row in table),
        np.array([float(row["num_gpus"]) for row in table]),
        np.array([float(row["bytes"]) for row in table]),
        np.array([float(row["time_s"]) for row in table]),
        tuple(setting(row) for row in table),
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def read(path: Path) -> dict[str, Rows]:
    """Read a table of one node, by system."""
    by: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _table(path):
        by[row["system"]].append(row)
    return {
        system: _of(table, lambda row: " ".join(row.get(name, "") for name in SETTING))
        for system, table in by.items()
    }


def read_between(path: Path) -> dict[str, Rows]:
    """Read a table between nodes, by set; the setting is the system and the ranks of a node."""
    by: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _table(path):
        by[row["set"]].append(row)
    return {
        name: _of(table, lambda row: f"{row['system']} {row['gpus_per_node']} {row['fabric']}")
        for name, table in by.items()
    }


def read_switch(path: Path) -> dict[str, Rows]:
    """Read all-reduces given as bus bandwidth, `bytes / time * 2 (n - 1) / n`, by system."""
    by: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _table(path):
        n = float(row["num_gpus"])
        time_s = 2.0 * (n - 1.0) / n * float(row["bytes"]) / float(row["bus_bytes_per_s"])
        by[row["system"]].append({**row, "time_s": str(time_s)})
    return {system: _of(table, lambda row: row["algorithm"]) for system, table in by.items()}
