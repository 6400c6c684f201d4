"""A step run and timed: the whole of it, the parts that can be run alone, and its memory.

Parts: `Timed`, `Measured`, `measure`.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax

from planner.check.alone import adam_alone, exchanges_alone
from planner.check.exchanges import exchanges_of, sent_bytes
from planner.check.step import Step
from planner.errors import SpecError
from planner.jax_here import first_line, out_of_memory

__all__ = ["Measured", "Timed", "measure"]

WARM = 2
ALONE_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of something that was run several times.

    Parameters
    ----------
    time_s : median
    spread : largest over smallest, less one
    """

    time_s: float
    spread: float
    samples_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step takes.

    Parameters
    ----------
    terms      : exchanges of each axis of the plan, and `optimizer`, each run alone
    sent_bytes : by axis, of one rank
    memory     : bytes of one device as the compiler gives them: arguments, outputs, temporaries,
                 what arguments and outputs share, and its peak
    losses     : of the steps run, first to last
    """

    step: Timed
    compile_s: float
    terms: Mapping[str, Timed]
    sent_bytes: Mapping[str, float]
    memory: Mapping[str, float]
    losses: tuple[float, ...]


def measure(step: Step, repeats: int, progress: Callable[[str, int, int], None]) -> Measured:
    """Compile a step once, warm it up, and time it and its parts.

    Raises
    ------
    SpecError : it does not fit in the devices' memory
    """
    progress("compiling the step", 0, 3)
    start = time.perf_counter()
    try:
        compiled = step.lower().compile()
        compile_s = time.perf_counter() - start
        progress("running the step", 1, 3)
        whole, losses = _steps(step, compiled, repeats)
    except jax.errors.JaxRuntimeError as error:
        if not out_of_memory(error):
            raise
        raise SpecError(
            f"too little memory for the step: {first_line(error)}; give fewer --devices"
        ) from None
    found = exchanges_of(step)
    progress("running its parts alone", 2, 3)
    calls = {**exchanges_alone(step, found), "optimizer": adam_alone(step)}
    terms = {term: _timed(call) for term, call in calls.items()}
    return Measured(
        whole, compile_s, terms, sent_bytes(found, step.axes), _memory(compiled), losses
    )


def _steps(
    step: Step, compiled: jax.stages.Compiled, repeats: int
) -> tuple[Timed, tuple[float, ...]]:
    state, batch = step.place()
    samples, losses = [], []
    for _ in range(WARM + repeats):
        start = time.perf_counter()
        state, loss = compiled(state, batch)
        losses.append(float(loss))
        jax.block_until_ready(state)
        samples.append(time.perf_counter() - start)
    return _median(samples[WARM:]), tuple(losses)


def _timed(call: Callable[[], object]) -> Timed:
    call()
    samples = []
    for _ in range(ALONE_REPEATS):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return _median(samples)


def _median(samples: list[float]) -> Timed:
    return Timed(statistics.median(samples), max(samples) / min(samples) - 1.0, tuple(samples))


def _memory(compiled: jax.stages.Compiled) -> dict[str, float]:
    """Return what the compiler says of one device's memory, where it says anything."""
    found = compiled.memory_analysis()
    keys = {
        "argument_bytes": "argument_size_in_bytes",
        "output_bytes": "output_size_in_bytes",
        "temporary_bytes": "temp_size_in_bytes",
        "shared_bytes": "alias_size_in_bytes",
        "peak_bytes": "peak_memory_in_bytes",
    }
    return {key: float(getattr(found, name)) for key, name in keys.items() if hasattr(found, name)}
