"""Judge the shipped network constants on measured collectives, in any folder of tables.

    python benchmarks/accuracy/check_collectives.py FOLDER

FOLDER may hold `nccl_one_node.csv`, `multi_node_published.csv` and `moe_all_to_all_one_node.csv`
(columns as in `data/collectives/`). Every row is priced as a plan would be, by the profile's own
levels. Prints mean absolute errors by system, operation, devices and range of sizes.

Parts: `of_one_node`, `of_nodes`, `of_experts`, `main`.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from collective_models import price
from collective_rows import PROFILES, Rows, read, read_between
from collective_write import TCP

from costmodels.collectives import all_to_all_s
from costmodels.units import Column
from hardware_profiles.load import load, with_overrides
from planner.cluster import build

__all__ = ["main", "of_experts", "of_nodes", "of_one_node"]

MIB = 2.0**20


def of_one_node(system: str, rows: Rows) -> Column:
    """Return predicted over measured, less one, of collectives inside one node."""
    profile = load(PROFILES[system])
    devices = int(rows.ranks.max())
    span = build(profile, max(devices, 2)).span((rows.ranks, 1.0))
    return np.asarray(price(rows, span) / rows.time_s - 1.0)


def of_nodes(rows: Rows) -> Column:
    """Return the same between nodes of eight; the fabric is read from the table's words.

    `8x200G` are eight adapters of 200 Gb/s, `TCPXO` is how Google's A3 Mega drives its own; a
    machine that is not named is an H100's with eight adapters of 100 Gb/s; otherwise the profile's
    network.
    """
    system, _, fabric = rows.setting[0].split(" ", 2)
    profile = load(TCP if "TCPXO" in fabric else PROFILES.get(system, "dgx-h100"))
    adapters = re.search(r"(\d+)x(\d+)G", fabric)
    if adapters:
        gigabits = float(adapters[1]) * float(adapters[2])
        profile = with_overrides(profile, {"inter_node_bytes_per_s": gigabits / 8.0 * 1e9})
    elif system not in PROFILES:
        profile = with_overrides(profile, {"inter_node_bytes_per_s": 100e9})
    span = build(profile, int(rows.ranks.max())).span((rows.ranks, 1.0))
    return np.asarray(price(rows, span) / rows.time_s - 1.0)


def of_experts(path: Path) -> dict[str, Column]:
    """Return the same of dispatch and combine over eight devices, from 1,024 tokens a rank.

    Priced as plans price them: an all-to-all of tokens * top_k * hidden elements of two bytes.
    """
    errors: dict[str, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            tokens = float(row["tokens_per_rank"])
            if row["system"] not in PROFILES or row["dtype"] not in ("bf16", "default"):
                continue
            if tokens < 1024:
                continue
            sent_bytes = 2.0 * tokens * float(row["top_k"]) * float(row["hidden"])
            span = build(load(PROFILES[row["system"]]), 8).span((8.0, 1.0))
            took_s = float(all_to_all_s(sent_bytes, span, float(row["top_k"])))
            key = f"{row['system']} {row['backend']} {row['phase']}"
            errors[key].append(took_s / float(row["time_s"]) - 1.0)
    return {key: np.array(each) for key, each in errors.items()}


def _line(name: str, errors: Column, rows: int) -> str:
    return (f"{name}: mean {np.abs(errors).mean():.1%}, median {np.median(np.abs(errors)):.1%}, "
            f"bias {errors.mean():+.1%}; {rows} rows")  # fmt: skip


def _lines(rows: Rows, errors: Column) -> Iterable[str]:
    for key in dict.fromkeys(zip(rows.op, rows.ranks, strict=True)):
        mask = np.array([(op, n) == key for op, n in zip(rows.op, rows.ranks, strict=True)])
        yield _line(f"  {key[0]} on {key[1]:.0f}", errors[mask], int(mask.sum()))
    edges = (0.0, 0.0625 * MIB, 4 * MIB, np.inf)
    for name, low, high in zip(("64 KiB and less", "to 4 MiB", "more"), edges, edges[1:],
                               strict=False):  # fmt: skip
        mask = (rows.size_bytes > low) & (rows.size_bytes <= high)
        if mask.any():
            yield _line(f"  {name}", errors[mask], int(mask.sum()))


def main() -> None:
    """Read the folder from the command line, price, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    one, nodes, experts = (
        folder / f"{name}.csv"
        for name in ("nccl_one_node", "multi_node_published", "moe_all_to_all_one_node")
    )
    for system, rows in (read(one) if one.exists() else {}).items():
        pooled = rows.pooled()
        errors = of_one_node(system, pooled)
        print(_line(f"{system}, shapes pooled over settings", errors, len(pooled)))
        print(*_lines(pooled, errors), sep="\n")
        print(_line("  single rows", of_one_node(system, rows), len(rows)))
    for name, rows in (read_between(nodes) if nodes.exists() else {}).items():
        print(_line(name, of_nodes(rows), len(rows)))
    for name, errors in (of_experts(experts) if experts.exists() else {}).items():
        print(_line(f"experts, {name}", errors, len(errors)))


if __name__ == "__main__":
    main()
