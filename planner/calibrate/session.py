"""Measure points on all processes together, each once, and keep what is measured.

A point that is in the journal is not measured again. Every process runs the same points in the
same order; the slowest tells the time. Who waits for the others longer than `PATIENCE_S` ends
with a message, since one of them is lost.

Parts: `Session`, `PATIENCE_S`.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from planner.calibrate import (
    attention,
    copies,
    elementwise,
    exchanges,
    experts,
    launches,
    new_memory,
    products,
)  # fmt: skip
from planner.calibrate.journal import Journal
from planner.calibrate.launch import everywhere, largest, meet
from planner.calibrate.machine import Machine
from planner.calibrate.points import Point, Reading
from planner.calibrate.programs import Kernel, mesh_of, on_devices, placed
from planner.calibrate.timing import Effort, read, runs_of, sampled
from planner.check.turns import repeated
from planner.errors import PlannerError, SpecError
from planner.jax_here import first_line, out_of_memory

__all__ = ["PATIENCE_S", "Session"]

PATIENCE_S = 100.0
"""Seconds for a point until the process takes the others for lost."""
_PROBE = Point("products", {"m": 256, "n": 256, "k": 256})
_LEAST_TURNS, _MOST_TURNS = 4, 256
"""Turns of one program: a few at least where memory binds, since a program's first touch of its
results is slow (new pages)."""
_LATENCY_S = 2e-4
"""About what a collective on few bytes takes, to choose how often to repeat it."""
_CROSSING_REPEATS = 4
"""How many times as many samples a collective between processes has: its turns differ, since a
message waits for the other process to get a core, a slice of the scheduler's (some milliseconds)
or nothing. A sample is then the mean of a few turns, and the median is over many samples."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed: `run(n)` runs a program n times, each of them `turns` of what is measured."""

    run: Callable[[int], None]
    turns: int = 1


@dataclass
class Session:
    """Who measures: a machine, how hard, and what is kept.

    Parameters
    ----------
    flop_per_s : of a device, roughly; from the first product
    """

    machine: Machine
    effort: Effort
    journal: Journal
    flop_per_s: float = 0.0

    def measure(
        self, points: Sequence[Point], progress: Callable[[str, int, int], None]
    ) -> dict[str, Reading]:
        """Return the readings of all points, by key.

        Raises
        ------
        PlannerError : another process was lost
        """
        done = self._done(points)
        start, fresh = time.monotonic(), 0
        if not all(done):
            self._probe()
        for number, (point, known) in enumerate(zip(points, done, strict=True)):
            if known:
                continue
            left = (len(points) - number) * (time.monotonic() - start) / fresh if fresh else 0.0
            progress(f"{_left(left)}{point}", number, len(points))
            self.journal.add(point, self._guarded(point))
            fresh += 1
        return {p.key: self.journal.readings[p.key] for p in points}

    def _done(self, points: Sequence[Point]) -> list[bool]:
        """Tell which points the first process has; all processes go by it."""
        mine = np.array([point.key in self.journal.readings for point in points], np.int32)
        first = everywhere(mine)[0].astype(bool)
        for point, known in zip(points, first, strict=True):
            if known and point.key not in self.journal.readings:
                self.journal.readings[point.key] = Reading(0.0, 0.0, 0, 0)  # the first one has it
        return [bool(known) for known in first]

    def _guarded(self, point: Point) -> Reading:
        """Measure a point; give up where another process does not come."""
        timer = threading.Timer(PATIENCE_S, _lost, (point,))
        timer.daemon = True
        timer.start()
        try:
            return self._reading(point)
        except (RuntimeError, ValueError) as error:  # jax.errors.JaxRuntimeError is one
            text = first_line(error)
            if out_of_memory(error):
                raise SpecError(f"too little memory for {point}: {text}") from None
            if jax.process_count() > 1:
                _lost(point, text)
            raise PlannerError(f"{point} cannot be measured: {text}") from None
        finally:
            timer.cancel()

    def _reading(self, point: Point) -> Reading:
        meet(point.key)
        if point.busy > 0 and jax.process_index() > 0:  # the first alone is at work
            samples = [0.0] * self.effort.repeats
        else:
            work = self._work(point)
            runs = self._runs(work.run, shared=point.busy == 0)
            samples = [s / work.turns for s in sampled(work.run, runs, self._repeats(point))]
        slowest = largest(np.array(samples)) if jax.process_count() > 1 else np.array(samples)
        return read(slowest.tolist())

    def _crosses(self, point: Point) -> bool:
        """Whether a point is a collective that passes the sockets of several processes.

        Where several joined, JAX on a processor sends by sockets inside a process as well.
        """
        return point.level != "" and jax.process_count() > 1

    def _repeats(self, point: Point) -> int:
        return self.effort.repeats * (_CROSSING_REPEATS if self._crosses(point) else 1)

    def _runs(self, call: Callable[[int], None], shared: bool) -> int:
        call(1)  # compiles, and warms up
        once = sampled(call, 1, 1)[0]
        if shared and jax.process_count() > 1:
            once = float(largest(np.array([once]))[0])
        return runs_of(once, self.effort)

    def _work(self, point: Point) -> Work:
        """Return the program of a point, on its devices."""
        if point.kind in copies.KINDS:
            return Work(copies.call(point, jax.local_devices()))
        if point.kind in new_memory.KINDS:
            return Work(new_memory.call(point.kind, point.sizes["bytes"], jax.local_devices()))
        if point.kind == "launch":
            return Work(launches.call(self._devices(point)))
        if point.kind in exchanges.KINDS:
            kernel = exchanges.kernel(
                point.kind, point.sizes["bytes"], point.sizes["ranks"], point.precision
            )
            mesh = exchanges.grid(jax.devices(), point.sizes["ranks"], point.sizes["stride"])
        else:
            kernel, mesh = kernel_of(point), mesh_of(self._devices(point))
        self._fits(point, kernel)
        turns = _LEAST_TURNS if self._crosses(point) else self._turns(kernel)
        run = on_devices(repeated(kernel.run, turns), mesh, len(kernel.shapes))
        arrays = placed(kernel, mesh)

        def call(runs: int) -> None:
            for _ in range(runs):
                made = run(*arrays)
            jax.block_until_ready(made)

        return Work(call, turns)

    def _devices(self, point: Point) -> list[object]:
        local = jax.local_devices()
        return list(local[: point.busy] if point.busy else local)

    def _turns(self, kernel: Kernel) -> int:
        """Choose the turns inside a program, a power of two, for about half a sample."""
        rate = self.flop_per_s or 1e9
        once_s = kernel.flop / rate + 4.0 * kernel.bytes / rate
        if not kernel.flop and len(kernel.shapes) == 1:
            once_s += _LATENCY_S
        turns = max(1.0, 0.5 * self.effort.sample_s / max(once_s, 1e-9))
        least = 1 if kernel.flop else _LEAST_TURNS
        return int(np.clip(2 ** int(np.log2(turns)), least, _MOST_TURNS))

    def _probe(self) -> None:
        """Find roughly how fast a device is."""
        work = self._work(_PROBE)
        work.run(1)
        seconds = float(largest(np.array(sampled(work.run, 1, 2))).min()) / work.turns
        self.flop_per_s = kernel_of(_PROBE).flop / seconds

    def _fits(self, point: Point, kernel: Kernel) -> None:
        if kernel.held_bytes > self.machine.memory_bytes:
            raise SpecError(
                f"too little memory for {point}: it needs {kernel.held_bytes / 1e9:.1f} GB on each"
                f" device, which has {self.machine.memory_bytes / 1e9:.1f} GB; with fewer devices"
                " (--devices) each has more"
            )


def kernel_of(point: Point) -> Kernel:
    """Return the program of a point that is no collective."""
    made = {
        "products": products.forward,
        "products with gradients": products.gradients,
        "attention": attention.forward,
        "attention backward": attention.backward,
        "experts": experts.forward,
    }
    if point.kind in made:
        return made[point.kind](point.sizes, point.precision)
    return elementwise.kernel(point.kind, point.sizes, point.precision)


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s left, " if seconds else ""


def _lost(point: Point, why: str = "") -> None:
    """End this process: another one of the job does not answer."""
    reason = f" ({why})" if why else f" for {PATIENCE_S:.0f} s"
    print(
        f"\nerror: another process of the job was lost at {point}{reason}; what is measured is"
        " kept, and the same command continues from there",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(1)  # others wait in calls that cannot be called off
