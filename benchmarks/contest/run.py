"""Solve instances of the contest as a user would, check every answer, write the table.

    python benchmarks/contest/run.py FOLDER [NAME[=SECONDS] ...] [--out RESULTS.json]

FOLDER holds asplos-2025-iopddl-NAME.json.gz. Each instance is one call of `sixfold solve` with the
contest's time limit, two solver processes; the answer is evaluated by `check.py`, which shares no
code with the solver. The load of the machine before and after is part of the result.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import check

# seconds of the contest; best cost published or known (github.com/google/iopddl and entrants)
LIMITS = {"A": 60, "B": 60, "C": 60, "G": 120, "K": 180, "P": 240, "V": 300}
BEST = {
    "A": 6_548_641_531,
    "B": 532_843,
    "C": 84_102_445_244,
    "G": 217_039,
    "K": 2_257_227_094,
    "P": 662_197_407_330,
    "V": 1_617_084,
}
DEFAULT_S = 120


def solve(path: Path, seconds: float) -> dict:
    """Run the command on one instance; return what is known of the run."""
    before = os.getloadavg()[0]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        command = [
            *(sys.executable, "-m", "planner", "solve", str(path), "--format", "iopddl"),
            *("--time-limit", str(seconds), "--json", str(out)),
        ]
        code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
        wall_s = time.monotonic() - begun
        answer = json.loads(out.read_text("utf-8")) if out.exists() else {}
    found = {
        "exit": code,
        "limit_s": seconds,
        "wall_s": round(wall_s, 1),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        **{key: answer.get(key) for key in ("status", "cost", "bound", "gap", "curve")},
    }
    if answer.get("picks") is not None:
        cost, most, allowed = check.evaluate(check.load(str(path)), answer["picks"])
        found |= {"checked_cost": cost, "peak_usage": most, "allowed": allowed}
    return found


def line(name: str, found: dict) -> str:
    """Write one row of the table."""
    cost, best = found.get("checked_cost"), BEST.get(name)
    score = f"{best / cost:.6f}" if best and cost and found["allowed"] else "-"
    bound, gap = found.get("bound"), found.get("gap")
    last = found["curve"][-1][0] if found.get("curve") else None
    cells = (
        name,
        f"{cost:,}" if cost is not None else "none",
        score,
        f"{bound:,}" if bound is not None else "-",
        f"{100 * gap:.2f}%" if gap is not None else "-",
        str(found.get("status")),
        "-" if last is None else f"{last:.0f}",
        f"{found['wall_s']:.0f} of {found['limit_s']:.0f}",
        " to ".join(f"{load:.1f}" for load in found["load"]),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is asked for."""
    arguments = sys.argv[1:]
    out = None
    if "--out" in arguments:
        at = arguments.index("--out")
        out = Path(arguments[at + 1])
        arguments = arguments[:at] + arguments[at + 2 :]
    folder = Path(arguments[0])
    wanted = arguments[1:] or list(LIMITS)
    results = json.loads(out.read_text("utf-8")) if out is not None and out.exists() else {}
    print("| | cost | score | bound | gap | status | last gain at s | wall s | load |")
    print("|---|---:|---:|---:|---:|---|---:|---:|---|")
    for one in wanted:
        name, _, seconds = one.partition("=")
        limit = float(seconds) if seconds else float(LIMITS.get(name, DEFAULT_S))
        found = solve(folder / f"asplos-2025-iopddl-{name}.json.gz", limit)
        results[name] = found
        print(line(name, found), flush=True)
        if out is not None:
            out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
