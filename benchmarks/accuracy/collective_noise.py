"""How far measured collectives lie from each other: one shape's settings, one curve's neighbours.

Prices nothing. Parts: `Spread`, `spreads`, `another_run`, `Engines`, `engines`.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from collective_rows import DATA, Rows, read

__all__ = ["Engines", "Spread", "another_run", "engines", "spreads"]

LARGE_BYTES = 32 * 2.0**20
MANY_TOKENS = 1024


@dataclass(frozen=True)
class Spread:
    """Shapes of one machine and count that were measured more than once, and their curves.

    Parameters
    ----------
    others : mean distance of one setting's time from the geometric mean of the shape's others
    large  : the same from 32 MiB
    widest : slowest over fastest time of one shape, less one, the most
    bend   : median over sizes of |ln t(s/2) - 2 ln t(s) + ln t(2 s)|, settings pooled: nothing
             on a line of start or of bandwidth alone
    """

    system: str
    devices: int
    shapes: int
    others: float
    large: float
    widest: float
    bend: float


def _shapes(rows: Rows) -> dict[tuple[str, float], list[float]]:
    """Return by operation and bytes the times of every setting."""
    at: dict[tuple[str, float], list[float]] = defaultdict(list)
    for op, size, time_s in zip(rows.op, rows.size_bytes, rows.time_s, strict=True):
        at[op, float(size)].append(float(time_s))
    return at


def _distances(times_s: Sequence[float]) -> list[float]:
    """Return what each time misses of the geometric mean of the others."""
    logs = [float(np.log(time_s)) for time_s in times_s]
    return [abs(float(np.expm1((sum(logs) - x) / (len(logs) - 1) - x))) for x in logs]


def _bend(rows: Rows) -> float:
    pooled = rows.pooled()
    bends: list[float] = []
    for op in dict.fromkeys(pooled.op):
        mask = np.array([each == op for each in pooled.op])
        order = np.argsort(pooled.size_bytes[mask])
        bends.extend(np.abs(np.diff(np.log(pooled.time_s[mask][order]), 2)))
    return float(np.median(bends))


def spreads() -> list[Spread]:
    """Return the spread of every machine and count of the tables of one node."""
    made: list[Spread] = []
    for system, table in read(DATA / "nccl_one_node.csv").items():
        for devices in sorted(set(table.ranks.tolist())):
            rows = table.where(lambda op, n, size, setting, d=devices: n == d)
            shapes = _shapes(rows)
            found = {key: _distances(each) for key, each in shapes.items() if len(each) > 1}
            widest = max(max(each) / min(each) for each in shapes.values()) - 1.0
            everything = [each for shape in found.values() for each in shape]
            large = [each for (_, size), shape in found.items() for each in shape
                     if size >= LARGE_BYTES]  # fmt: skip
            made.append(
                Spread(system, int(devices), len(found), float(np.mean(everything)),
                       float(np.mean(large)), widest, _bend(rows))
            )  # fmt: skip
    return made


def another_run() -> dict[int, float]:
    """Return by devices how far NCCL's all-reduces of L40S lie from a serving engine's run of them.

    Mean distance of pooled times from the engine's, over the sizes of both. It is taken for NCCL's,
    because eight devices' times are the same to 7% up to 128 KiB, two's to 2% from 2 MiB.
    """
    nccl = read(DATA / "nccl_one_node.csv")["l40s"].where(lambda op, *_: op == "all_reduce")
    pooled = nccl.pooled()
    with (DATA / "engine_all_reduce.csv").open(encoding="utf-8", newline="") as lines:
        took_s = {
            (float(row["num_gpus"]), float(row["bytes"])): float(row["time_s"])
            for row in csv.DictReader(lines)
        }
    found: dict[int, list[float]] = defaultdict(list)
    for n, size, time_s in zip(pooled.ranks, pooled.size_bytes, pooled.time_s, strict=True):
        if (float(n), float(size)) in took_s:
            found[int(n)].append(abs(float(time_s) / took_s[float(n), float(size)] - 1.0))
    return {n: float(np.mean(each)) for n, each in found.items()}


@dataclass(frozen=True)
class Engines:
    """How long engines take for one exchange of experts' tokens, slowest over fastest."""

    system: str
    phase: str
    shapes: int
    kinds: int
    middle: float
    most: float


def engines() -> list[Engines]:
    """Return that of every machine and phase, from 1,024 tokens a rank, not quantized."""
    times: dict[tuple[str, str], dict[tuple[str, ...], dict[str, float]]] = {}
    with (DATA / "moe_all_to_all_one_node.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if int(row["tokens_per_rank"]) < MANY_TOKENS or row["dtype"] not in ("bf16", "default"):
                continue
            shape = tuple(row[name] for name in ("hidden", "top_k", "experts", "tokens_per_rank"))
            of = times.setdefault((row["system"], row["phase"]), {}).setdefault(shape, {})
            of[row["backend"]] = float(row["time_s"])
    made: list[Engines] = []
    for (system, phase), shapes in times.items():
        apart = [max(of.values()) / min(of.values()) for of in shapes.values() if len(of) > 1]
        kinds = max(len(of) for of in shapes.values())
        made.append(Engines(system, phase, len(apart), kinds, float(np.median(apart)), max(apart)))
    return made
