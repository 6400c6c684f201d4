"""Tables of measured kernels, and what a profile's constants say of each row.

A table is a CSV file (or .csv.gz) with the columns of its class and `system`, `dtype`, `time_s`:

    gemm               m, n, k
    attention_prefill  batch, heads, kv_heads, head_dim, tokens
    attention_decode   batch, heads, kv_heads, head_dim, context_tokens
    moe_gemm           hidden, ffn_hidden, top_k, experts, tp, ep, tokens

Predictions call the functions that price plans, with the kernels run alone (`rates_alone`).

Parts: `SYSTEMS`, `Table`, `tables`, `judged`, `predicted_s`.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costmodels.attention import decode_attention_s
from costmodels.products import grouped_matmul_s, matmul_s
from costmodels.roofline import memory_bound_s
from hardware_profiles.schema import HardwareProfile
from planner.workloads.training.rates import Rates, rates_alone

Floats = NDArray[np.float64]

SYSTEMS = {"a100_sxm": "dgx-a100-80gb", "h100_sxm": "dgx-h100", "h200_sxm": "dgx-h200",
           "b200_sxm": "dgx-b200"}  # fmt: skip
"""Profile of each system that tables name."""
LARGE = 1024.0
"""Products are judged where both sides of the weights have so many elements or more."""
NARROW_CACHE = ("a100_sxm",)
"""Systems whose decode table reads shared heads at 1.5 times the memory's peak if the cache has
two bytes an element: it has one there."""


@dataclass(frozen=True)
class Table:
    """Rows of one class on one system at one precision, as columns."""

    kind: str
    system: str
    dtype: str
    columns: dict[str, Floats]
    time_s: Floats

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.time_s)

    def rows(self, chosen: NDArray[np.bool_]) -> "Table":
        """Take some of the rows."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Table(self.kind, self.system, self.dtype, columns, self.time_s[chosen])

    def fold(self, folds: int) -> NDArray[np.int64]:
        """Give each row a number below `folds`, all rows of a shape the same."""
        names = SHAPE[self.kind]
        shapes = np.stack([self.columns[name] for name in names], axis=1)
        _, number = np.unique(shapes, axis=0, return_inverse=True)
        return np.asarray((number.ravel() * 7) % folds, dtype=np.int64)


SHAPE = {
    "gemm": ("n", "k"),
    "attention_prefill": ("heads", "kv_heads", "tokens"),
    "attention_decode": ("heads", "kv_heads", "context_tokens"),
    "moe_gemm": ("hidden", "ffn_hidden", "tp", "ep"),
}
"""Columns that name a shape: all rows of one are held back together."""
COLUMNS = {
    "gemm": ("m", "n", "k"),
    "attention_prefill": ("batch", "heads", "kv_heads", "head_dim", "tokens"),
    "attention_decode": ("batch", "heads", "kv_heads", "head_dim", "context_tokens"),
    "moe_gemm": ("hidden", "ffn_hidden", "top_k", "experts", "tp", "ep", "tokens"),
}


def tables(folder: Path) -> Iterator[Table]:
    """Read every table of a folder, by class, system and precision, in a fixed order."""
    for path in sorted(folder.glob("*.csv*")):
        kind = path.name.split(".")[0]
        if kind not in COLUMNS:
            continue
        groups: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for row in csv.DictReader(lines):
                values = [float(row[name]) for name in (*COLUMNS[kind], "time_s")]
                groups[row["system"], row["dtype"]].append(values)
        for (system, dtype), rows in sorted(groups.items()):
            columns = np.array(rows).T
            named = dict(zip(COLUMNS[kind], columns, strict=False))
            yield Table(kind, system, dtype, named, columns[-1])


def judged(table: Table) -> NDArray[np.bool_]:
    """Rows that errors are stated over: all, or products with two sides of `LARGE` or more."""
    if table.kind != "gemm":
        return np.ones(len(table), dtype=np.bool_)
    return np.asarray(np.minimum(table.columns["n"], table.columns["k"]) >= LARGE)


def predicted_s(profile: HardwareProfile, table: Table) -> Floats:
    """Price every row of a table with the profile's constants."""
    return np.asarray(FORMS[table.kind](profile, rates_alone(profile, table.dtype), table))


def _element_bytes(table: Table) -> float:
    return 1.0 if table.dtype == "fp8" else 2.0


def _gemm_s(_: HardwareProfile, rates: Rates, table: Table) -> Floats:
    c = table.columns
    return np.asarray(matmul_s(c["m"], c["n"], c["k"], rates.matmul, _element_bytes(table)))


def _prefill_s(profile: HardwareProfile, rates: Rates, table: Table) -> Floats:
    c = table.columns
    queries, tokens, width = c["batch"] * c["heads"], c["tokens"], c["head_dim"]
    tokens_and = tokens + profile.kernels.attention_forward.last_rows.value
    seconds = np.zeros(len(table))
    for one in np.unique(width):
        at = width == one
        flop = 2.0 * queries[at] * one * tokens[at] ** 2
        rows = c["batch"][at] * tokens_and[at] * (c["heads"] + c["kv_heads"])[at]
        seconds[at] = rates.attention_forward.seconds(
            flop, 4.0 * one * rows, 4.0 * one * tokens[at], float(one)
        )
    return seconds


def _decode_s(profile: HardwareProfile, _: Rates, table: Table) -> Floats:
    kernel, c = profile.kernels.attention_decode, table.columns
    assert kernel is not None
    narrow = (c["heads"] > c["kv_heads"]) & (table.system in NARROW_CACHE)
    return np.asarray(
        decode_attention_s(
            c["batch"], c["heads"], c["kv_heads"], c["head_dim"], c["context_tokens"],
            np.where(narrow, 1.0, 2.0),
            profile.memory_bytes_per_s.value * kernel.efficiency.value, kernel.fixed_s.value,
            kernel.split_s.value, kernel.group_s.value, kernel.query_s.value, kernel.head_s.value,
            kernel.reread.value, kernel.wait_s.value, float(profile.kernels.units),
        )
    )  # fmt: skip


def _moe_s(profile: HardwareProfile, rates: Rates, table: Table) -> Floats:
    """Two grouped products of a gated layer, and its rows sorted by expert and back.

    Every token of the layer is read once and its sum written once, whatever part of the experts
    the device holds.
    """
    c, element = table.columns, _element_bytes(table)
    width, local = c["ffn_hidden"] / c["tp"], c["experts"] / c["ep"]
    rows = c["tokens"] * c["top_k"] / c["ep"]
    busy = np.minimum(local, np.maximum(rows, 1.0))
    up, down = (
        grouped_matmul_s(rows, busy, n, k, rates.grouped, element)
        for n, k in ((2.0 * width, c["hidden"]), (c["hidden"], width))
    )
    passes = profile.kernels.grouped_matmul.routing_passes.value
    moved = 4.0 * (passes * rows + c["tokens"]) * c["hidden"]
    routing = memory_bound_s(moved, rates.memory_bytes_per_s, 4.0 * rates.memory_fixed_s)
    return np.asarray(up + down + routing)


FORMS: dict[str, Callable[[HardwareProfile, Rates, Table], Floats]] = {
    "gemm": _gemm_s,
    "attention_prefill": _prefill_s,
    "attention_decode": _decode_s,
    "moe_gemm": _moe_s,
}
