"""Fit every shipped constant from the measurements in the repository: the one command.

    python benchmarks/accuracy/fit.py [--write]

Kernels, then collectives, then memory, then what training steps make of them, then the intervals
from the errors of left-out sources: each rests on what those before it found. The same files give
the same constants. `--write` changes the profiles, stacks and tables that ship; without it, each
part is fitted on what ships.
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter

PARTS = ("fit_kernels", "fit_collectives", "fit_memory", "fit_steps", "fit_intervals")


def main() -> None:
    """Run the parts in order, each in a process of its own that reads what was written."""
    for part in PARTS:
        begun = perf_counter()
        print(f"== {part}", flush=True)
        script = str(Path(__file__).with_name(f"{part}.py"))
        subprocess.run([sys.executable, script, *sys.argv[1:]], check=True)
        print(f"== {part}: {perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
