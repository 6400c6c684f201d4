"""Check every job of this folder on this machine: predicted and measured step, and their order.

    python benchmarks/check/compare.py host.yaml [JOB ...]

`host.yaml` is a profile of this machine, as `sixfold calibrate --quick --out host.yaml` writes it.
Prints a table in Markdown: median of five steps, error, spread, and terms in milliseconds.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent


def checked(job: Path, profile: str) -> dict:
    """Run `sixfold check` on a job in a process of its own; returns what it compares."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "check.json"
        command = [sys.executable, "-m", "planner", "check", str(job), "--profile", profile]
        subprocess.run([*command, "--json", str(out)], check=True, capture_output=True)
        return json.loads(out.read_text("utf-8"))["compared"]


def main(profile: str, *names: str) -> None:
    """Print a row a job, then the two orders."""
    jobs = [HERE / f"{name}.yaml" for name in names] or sorted(HERE.glob("*.yaml"))
    print("| plan | predicted s | measured s | error | spread | terms, ms: predicted / measured |")
    print("| --- | --- | --- | --- | --- | --- |")
    found = {}
    for job in jobs:
        compared = checked(job, profile)
        step = compared["step_time_s"]
        found[job.stem] = step
        terms = ", ".join(
            f"{term['term']} {term['predicted'] * 1e3:.0f}/{term['measured'] * 1e3:.0f}"
            for term in compared["terms"]
        )
        print(
            f"| {job.stem} | {step['predicted']:.2f} | {step['measured']:.2f} |"
            f" {step['error']:+.1%} | {compared['spread']:.0%} | {terms} |",
            flush=True,
        )
    for kind in ("predicted", "measured"):
        order = sorted(found, key=lambda name: found[name][kind])
        print(f"\n{kind}, fastest first: {', '.join(order)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
