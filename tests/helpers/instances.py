"""Small instances of the contest's format, drawn at random, and their optimum by trying all."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

FORBIDDEN = 10**18


def drawn(seed: int, nodes: int = 7) -> dict[str, Any]:
    """Draw an instance: trees and cycles, edges both ways and parallel, empty and equal lives."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, nodes).tolist()
    lo = rng.integers(0, 8, nodes)
    hi = lo + rng.integers(0, 6, nodes)
    count = int(rng.integers(0, 2 * nodes))
    pairs = [rng.choice(nodes, 2, replace=False).tolist() for _ in range(count)]

    def numbers(amount: int, share: float) -> list[int]:
        values = rng.integers(0, 50, amount)
        return [FORBIDDEN if rng.random() < share else int(v) for v in values]

    usages = [rng.integers(0, 20, n).tolist() for n in sizes]
    return {
        "problem": {
            "name": f"drawn-{seed}",
            "nodes": {
                "intervals": np.stack((lo, hi), axis=1).tolist(),
                "costs": [numbers(n, 0.05) for n in sizes],
                "usages": usages,
            },
            "edges": {
                "nodes": pairs,
                "costs": [numbers(sizes[a] * sizes[b], 0.2) for a, b in pairs],
            },
            "usage_limit": int(rng.integers(5, 70)),
        }
    }


def optimum(raw: dict[str, Any]) -> float:
    """Return the least cost of any allowed picks, inf where there are none."""
    problem = raw["problem"]
    nodes, edges = problem["nodes"], problem.get("edges") or {"nodes": [], "costs": []}
    limit = problem.get("usage_limit")
    best = float("inf")
    for picks in product(*(range(len(costs)) for costs in nodes["costs"])):
        terms = [costs[p] for costs, p in zip(nodes["costs"], picks, strict=True)]
        for (a, b), costs in zip(edges["nodes"], edges["costs"], strict=True):
            terms.append(costs[picks[a] * len(nodes["costs"][b]) + picks[b]])
        if max(terms, default=0) >= FORBIDDEN or sum(terms) >= best:
            continue
        if limit is None or peak(nodes, picks) <= limit:
            best = sum(terms)
    return best


def peak(nodes: dict[str, Any], picks: tuple[int, ...]) -> int:
    """Return the most that is used at any time, which is when some node begins."""
    most = 0
    for time, _ in nodes["intervals"]:
        used = sum(
            usages[p]
            for (lo, hi), usages, p in zip(nodes["intervals"], nodes["usages"], picks, strict=True)
            if lo <= time < hi
        )
        most = max(most, used)
    return most


def written(raw: dict[str, Any], folder: Path) -> Path:
    """Write an instance to a file."""
    path = folder / "instance.json"
    path.write_text(json.dumps(raw), "utf-8")
    return path
