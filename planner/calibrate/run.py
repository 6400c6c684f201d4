"""The one way through a calibration: join, discover, measure, fit, write.

Parts: `Options`, `calibrate`, `levels_of`.
"""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from planner.calibrate.fitted import Measured
from planner.calibrate.found import Findings, findings
from planner.calibrate.journal import Journal, journal_of
from planner.calibrate.launch import Joining, is_first, join
from planner.calibrate.machine import Machine, discover
from planner.calibrate.menu import Level, Scope, menu
from planner.calibrate.session import Session
from planner.calibrate.timing import FULL, QUICK
from planner.jax_here import load_per_core

__all__ = ["Options", "calibrate", "levels_of"]

_WIDE = 8
"""How many times as wide as a processor's the matrices of an accelerator are."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asks for.

    Parameters
    ----------
    out     : the profile to write; its name is the file's
    joining : who the processes are, where no launcher says so
    """

    out: Path
    quick: bool = False
    fresh: bool = False
    joining: Joining = field(default_factory=Joining)


def calibrate(options: Options, progress: Callable[[str, int, int], None]) -> Findings | None:
    """Measure and fit; None on every process but the first.

    Raises
    ------
    SpecError    : no backend, too little memory, processes that do not find each other
    PlannerError : another process was lost
    """
    load = load_per_core()
    start = time.monotonic()
    join(options.joining)
    machine = discover()
    levels = levels_of(machine)
    effort = QUICK if options.quick else FULL
    journal = Journal(
        journal_of(options.out) if is_first() else None, machine.key, repr(effort), options.fresh
    )
    wide = 1 if machine.backend == "cpu" else _WIDE
    points = menu(Scope(wide, machine.local, levels, options.quick))
    session = Session(machine, effort, journal)
    readings = session.measure(points, progress)
    if not is_first():
        return None
    progress("fitting", 0, 0)
    measured = [Measured(point, readings[point.key]) for point in points]
    return findings(
        machine, levels, measured, name=options.out.stem,
        date=datetime.date.today().isoformat(), quick=options.quick, load=load,
        wall_s=time.monotonic() - start,
    )  # fmt: skip


def levels_of(machine: Machine) -> list[Level]:
    """List the levels that have more than one member, inner to outer."""
    found = [
        Level("process", machine.local, 1),
        Level("node", machine.processes, machine.local),
        Level("cluster", machine.hosts, machine.host_devices),
    ]
    return [level for level in found if level.members > 1]
