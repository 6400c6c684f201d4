"""Evaluate picks for an instance of the contest, in plain loops that share no code with us.

    python benchmarks/contest/check.py INSTANCE.json[.gz] ANSWER.json

ANSWER holds `picks`, or is a plain list of picks. Prints the cost, the most that is used at any
time, and whether the picks are allowed. Whole numbers throughout; 10^18 and more is infinite.
"""

import gzip
import json
import sys
from pathlib import Path

INFINITE = 10**18


def load(path: str) -> dict:
    """Return the problem in a file."""
    data = Path(path).read_bytes()
    return json.loads(gzip.decompress(data) if path.endswith(".gz") else data)["problem"]


def evaluate(problem: dict, picks: list[int]) -> tuple[int, int, bool]:
    """Return cost, peak usage, and whether the picks are allowed."""
    nodes = problem["nodes"]
    if len(picks) != len(nodes["costs"]):
        raise SystemExit(f"{len(picks)} picks for {len(nodes['costs'])} nodes")
    total, forbidden = 0, False
    for costs, pick in zip(nodes["costs"], picks, strict=True):
        if not 0 <= pick < len(costs):
            raise SystemExit(f"no option {pick} of {len(costs)}")
        total += costs[pick]
        forbidden = forbidden or costs[pick] >= INFINITE
    edges = problem.get("edges", {"nodes": [], "costs": []})
    for ends, costs in zip(edges["nodes"], edges["costs"], strict=True):
        at = 0
        for node in ends:
            at = at * len(nodes["costs"][node]) + picks[node]
        total += costs[at]
        forbidden = forbidden or costs[at] >= INFINITE
    events = []
    for (begin, end), usages, pick in zip(nodes["intervals"], nodes["usages"], picks, strict=True):
        if begin < end:
            events += [(begin, 1, usages[pick]), (end, 0, -usages[pick])]
    most = used = 0
    for _, _, change in sorted(events):
        used += change
        most = max(most, used)
    limit = problem.get("usage_limit")
    return total, most, not forbidden and (limit is None or most <= limit)


def main() -> None:
    """Check one answer."""
    answer = json.loads(Path(sys.argv[2]).read_text("utf-8"))
    picks = answer["picks"] if isinstance(answer, dict) else answer
    cost, most, allowed = evaluate(load(sys.argv[1]), picks)
    print(f"cost {cost:,}  peak usage {most:,}  {'allowed' if allowed else 'NOT ALLOWED'}")
    raise SystemExit(0 if allowed else 1)


if __name__ == "__main__":
    main()
