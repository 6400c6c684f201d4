"""What a user waits for whatever he asks: help, a machine's file read, a plan printed.

About 0.25 s beyond Python and Typer for help, 0.02 s for a file, 0.05 s for a plan on a free core.
Nothing fails for being slow.
"""

import subprocess
import sys
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

import planner
from hardware_profiles.load import load
from planner import recommend, spec
from planner.report.terminal import render

EXAMPLE = Path(planner.__file__).parent / "examples" / "llama3-70b-1024-h100.yaml"
PROFILE = Path(planner.__file__).parent.parent / "hardware_profiles" / "dgx-h100.yaml"


def test_help(benchmark: BenchmarkFixture) -> None:
    """Start a process and print help."""
    done = benchmark(
        lambda: subprocess.run(
            [sys.executable, "-m", "planner", "--help"], check=True, capture_output=True, text=True
        )
    )
    assert "sixfold" in done.stdout


def test_read_a_machine(benchmark: BenchmarkFixture) -> None:
    """Read a profile from a user's path."""
    assert benchmark(lambda: load(str(PROFILE))).name == "dgx-h100"


def test_print_a_plan(benchmark: BenchmarkFixture) -> None:
    """Lay a plan out as text."""
    plan = recommend.plan(spec.load(EXAMPLE))
    assert "design" in plan and benchmark(lambda: render(plan))
