"""Fit the kernel and link constants of machine profiles to measured tables, and say how well.

    python benchmarks/accuracy/fit_kernels.py MEASUREMENTS

MEASUREMENTS holds `kernels/gemm.csv`, `attention_prefill.csv`, `moe_gemm.csv` and
`collectives/nccl_one_node.csv`, `multi_node_published.csv`. The forms are those that the planner
prices with (`costmodels.roofline`, `costmodels.collectives`); constants minimise the mean
absolute log error. Prints one line a constant group: values, points, error. Writes nothing.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from costmodels.collectives import all_gather_s, all_reduce_s, all_to_all_s, reduce_scatter_s
from costmodels.hops import Hop
from costmodels.roofline import attention_s, matmul_s, smooth_max

Floats = NDArray[np.float64]
Key = tuple[str, str]

PEAK_FLOP_PER_S = {
    ("a100_sxm", "bf16"): 312e12,
    ("h100_sxm", "bf16"): 989.4e12,
    ("h100_sxm", "fp8"): 1978.9e12,
    ("b200_sxm", "bf16"): 2.25e15,
    ("b200_sxm", "fp8"): 4.5e15,
}
MEMORY_BYTES_PER_S = {"a100_sxm": 2.039e12, "h100_sxm": 3.35e12, "b200_sxm": 7.7e12}
UNITS = {"a100_sxm": 108, "h100_sxm": 132, "b200_sxm": 148}
LINK_BYTES_PER_S = {
    "a100_sxm": 300e9,
    "h100_sxm": 450e9,
    "h200_sxm": 450e9,
    "b200_sxm": 900e9,
    "l40s": 32e9,
}
IN_SWITCH = ("h100_sxm", "h200_sxm", "b200_sxm")
TILE = 64
COLLECTIVES = {
    "all_gather": all_gather_s,
    "reduce_scatter": reduce_scatter_s,
    "all_reduce": all_reduce_s,
    "alltoall": all_to_all_s,
}


def fit(form: Callable[..., Floats], times_s: Floats, start: list[float]) -> tuple[Floats, float]:
    """Return the positive constants that minimise mean |log(form/time)|, and the mean error."""

    def loss(logs: Floats) -> float:
        return float(np.mean(np.abs(np.log(form(*np.exp(logs)) / times_s))))

    found = minimize(loss, np.log(start), method="Nelder-Mead", options={"maxiter": 1000})
    constants = np.exp(found.x)
    return constants, float(np.mean(np.abs(form(*constants) / times_s - 1.0)))


def read(path: Path, columns: list[str]) -> dict[Key, Floats]:
    """Read a table as one array of `columns` for each (system, dtype)."""
    groups: dict[Key, list[list[float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            groups[row["system"], row["dtype"]].append([float(row[name]) for name in columns])
    return {key: np.array(rows) for key, rows in groups.items()}


def matmuls(folder: Path) -> Iterator[str]:
    """Fit share of peak, smallest time and share of memory bandwidth of matrix products."""
    for key, rows in read(folder / "gemm.csv", ["m", "n", "k", "time_s"]).items():
        kept = rows[(rows[:, 0] >= 16) & (rows[:, 1] >= 1024) & (rows[:, 2] >= 1024)]
        m, n, k, time_s = kept.T
        element_bytes = 2.0 if key[1] == "bf16" else 1.0

        def form(
            share: float,
            fixed_s: float,
            memory: float,
            key: Key = key,
            m: Floats = m,
            n: Floats = n,
            k: Floats = k,
            element_bytes: float = element_bytes,
        ) -> Floats:
            flop_per_s = share * PEAK_FLOP_PER_S[key]
            bytes_per_s = memory * MEMORY_BYTES_PER_S[key[0]]
            return np.asarray(
                matmul_s(m, n, k, flop_per_s, bytes_per_s, fixed_s, element_bytes, 2.0,
                         TILE, TILE, UNITS[key[0]])
            )  # fmt: skip

        (share, fixed_s, memory), error = fit(form, time_s, [0.7, 5e-6, 0.8])
        yield (
            f"matmul {key[0]} {key[1]}: efficiency {share:.3f}, fixed {fixed_s * 1e6:.2f} us, "
            f"memory {memory:.3f}; {len(kept)} points, error {error:.3f}"
        )


def attention(folder: Path) -> Iterator[str]:
    """Fit share of bf16 peak of fused causal attention at 2,048 tokens and more, head dim 128."""
    columns = ["batch", "heads", "kv_heads", "head_dim", "tokens", "time_s"]
    for key, rows in read(folder / "attention_prefill.csv", columns).items():
        fixed_s = float(np.median(rows[(rows[:, 4] <= 16) & (rows[:, 0] == 1), 5]))
        kept = rows[(rows[:, 4] >= 2048) & (rows[:, 3] == 128)]
        batch, heads, kv_heads, head_dim, tokens, time_s = kept.T
        flop = 2.0 * batch * heads * head_dim * tokens**2  # the causal half of both products
        traffic_bytes = 4.0 * batch * tokens * head_dim * (heads + kv_heads)
        bytes_per_s = 0.77 * MEMORY_BYTES_PER_S[key[0]]

        def form(
            share: float,
            key: Key = key,
            flop: Floats = flop,
            traffic_bytes: Floats = traffic_bytes,
            bytes_per_s: float = bytes_per_s,
            fixed_s: float = fixed_s,
        ) -> Floats:
            return np.asarray(
                attention_s(flop, traffic_bytes, share * PEAK_FLOP_PER_S[key], bytes_per_s, fixed_s)
            )

        (share,), error = fit(form, time_s, [0.4])
        yield (
            f"attention forward {key[0]}: efficiency {share:.3f}, fixed {fixed_s * 1e6:.1f} us; "
            f"{len(kept)} points, error {error:.3f}"
        )


def grouped(folder: Path) -> Iterator[str]:
    """Fit share of peak and smallest time of the grouped products of one layer of experts."""
    columns = ["hidden", "ffn_hidden", "top_k", "experts", "tp", "ep", "tokens", "time_s"]
    for key, rows in read(folder / "moe_gemm.csv", columns).items():
        if key not in PEAK_FLOP_PER_S:
            continue
        hidden, ffn, top_k, experts, tp, ep, tokens, time_s = rows.T
        pairs = tokens * top_k / ep
        flop = 6.0 * pairs * hidden * ffn / tp
        active = np.minimum(experts / ep, tokens * top_k)
        element_bytes = 2.0 if key[1] == "bf16" else 1.0
        weight_bytes = active * 3.0 * hidden * ffn / tp * element_bytes
        moved_s = (weight_bytes + pairs * (2 * hidden + 3 * ffn / tp) * 2.0) / (
            0.77 * MEMORY_BYTES_PER_S[key[0]]
        )

        def form(
            share: float,
            fixed_s: float,
            key: Key = key,
            flop: Floats = flop,
            moved_s: Floats = moved_s,
        ) -> Floats:
            return np.asarray(fixed_s + smooth_max(flop / (share * PEAK_FLOP_PER_S[key]), moved_s))

        (share, fixed_s), error = fit(form, time_s, [0.5, 3e-5])
        yield (
            f"grouped {key[0]} {key[1]}: efficiency {share:.3f} of peak, fixed "
            f"{fixed_s * 1e6:.1f} us a layer; {len(rows)} points, error {error:.3f}"
        )


def one_node(path: Path) -> Iterator[str]:
    """Fit share of link bandwidth (32 MiB and more) and latency a step (64 KiB and less).

    Both are of all-gather and reduce-scatter over 8 devices, fp16; the error is given for each
    collective over all sizes, with those constants and the planner's choice of algorithm.
    """
    times: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["dtype"] == "fp16" and row["num_gpus"] == "8":
                times[row["system"], row["op"], float(row["bytes"])].append(float(row["time_s"]))
    for system, link in LINK_BYTES_PER_S.items():
        table = [
            (op, size, float(np.median(seen)))
            for (name, op, size), seen in times.items()
            if name == system
        ]

        def priced(op: str, size: float, alpha_s: float, share: float, link: float = link,
                   system: str = system) -> float:  # fmt: skip
            hop = Hop("node", 8.0, alpha_s, link * share, system in IN_SWITCH)
            return float(COLLECTIVES[op](size, (hop,)))

        plain = [row for row in table if row[0] in ("all_gather", "reduce_scatter")]
        large = [row for row in plain if row[1] >= 32 * 2**20]
        small = [row for row in plain if row[1] <= 65536]
        (share,), _ = fit(
            lambda share, large=large, priced=priced: np.array(
                [priced(op, size, 2e-6, share) for op, size, _ in large]
            ),
            np.array([time_s for *_, time_s in large]),
            [0.7 if system != "l40s" else 0.05],
        )
        (alpha_s,), _ = fit(
            lambda alpha_s, small=small, priced=priced, share=share: np.array(
                [priced(op, size, alpha_s, share) for op, size, _ in small]
            ),
            np.array([time_s for *_, time_s in small]),
            [2e-6],
        )
        errors = ", ".join(
            f"{op} {np.mean([abs(priced(op, s, alpha_s, share) / t - 1) for o, s, t in table if o == op]):.2f}"  # noqa: E501
            for op in COLLECTIVES
        )
        yield (
            f"link {system}: efficiency {share:.3f}, latency {alpha_s * 1e6:.2f} us a step; "
            f"{len(large)} + {len(small)} points; error by collective {errors}"
        )


def between_nodes(path: Path) -> Iterator[str]:
    """Share of the adapters' bandwidth that all-reduces between nodes reach at 512 MiB and more.

    A ring moves 2 (n - 1)/n of the buffer through each node's adapters where every device sits on
    the ring; of two nodes the exchange of halves moves the buffer once.
    """
    nominal = {"h100_64_ib_sharp": 400e9, "h100_2n_tcpxo": 200e9}
    shares: dict[str, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["set"] in nominal and float(row["bytes"]) >= 512 * 2**20:
                nodes = int(row["num_gpus"]) / int(row["gpus_per_node"])
                crossing = 2.0 * (nodes - 1.0) / nodes * float(row["bytes"])
                share = crossing / float(row["time_s"]) / nominal[row["set"]]
                shares[row["set"]].append(share)
    for name, seen in shares.items():
        yield (
            f"between nodes {name}: {np.median(seen):.3f} of nominal by what must cross "
            f"({min(seen):.3f} to {max(seen):.3f}); {len(seen)} points"
        )


def main() -> None:
    """Read the folder from the command line, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("measurements", type=Path, help="folder with kernels/ and collectives/")
    folder: Path = parser.parse_args().measurements
    for lines in (
        matmuls(folder / "kernels"),
        attention(folder / "kernels"),
        grouped(folder / "kernels"),
        one_node(folder / "collectives" / "nccl_one_node.csv"),
        between_nodes(folder / "collectives" / "multi_node_published.csv"),
    ):
        for line in lines:
            print(line)


if __name__ == "__main__":
    main()
