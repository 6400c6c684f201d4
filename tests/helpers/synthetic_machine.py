"""A processor of which every constant is known, and what the whole menu takes on it."""

import dataclasses

import numpy as np

from hardware_profiles.contention import slowdown
from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile
from planner.calibrate.fitted import Measured
from planner.calibrate.link_fit import exchange_s, level_of
from planner.calibrate.menu import Level, Scope, menu
from planner.calibrate.points import Reading
from planner.calibrate.prices import kernel_s
from planner.cluster import build
from planner.fitting.figures import with_figures

LEVELS = (Level("process", 8, 1),)
SCOPE = Scope(1, 8, LEVELS, quick=False)
TRUTH = {
    "memory.efficiency": 0.6, "memory.fixed_s": 2e-5,
    "matmul.fp32.efficiency": 0.8, "matmul.fp32.fixed_s": 3e-5, "matmul.fp32.fill": 30.0,
    "matmul.bf16.efficiency": 0.7, "matmul.bf16.fixed_s": 4e-5, "matmul.bf16.fill": 50.0,
    "attention_forward.efficiency": 0.25, "attention_forward.fixed_s": 1e-4,
    "attention_forward.passes": 8.0, "attention_forward.softmax_dim": 40.0,
    "attention_backward.efficiency": 0.3, "attention_backward.fixed_s": 2e-4,
    "grouped_matmul.efficiency": 0.85, "grouped_matmul.fixed_s": 1e-4,
}  # fmt: skip
LINK = {
    "latency_s": 2e-5, "bytes_per_s": 8e8, "rings.start_s": 4e-5, "rings.share": 1.4,
    "exchanges.start_s": 9e-5, "exchanges.steps": 2.0, "exchanges.share": 0.6, "own_part": 1.0,
    "own_exchanged": 0.5, "summed": 0.8,
}  # fmt: skip
SHARE = 0.8


def machine() -> HardwareProfile:
    """Return a processor of which every constant is known."""
    base = load("cpu-host")
    host = base.host.model_copy(update={"devices": 8})
    kernels = base.kernels.model_copy(update={"units": 1})
    known = base.model_copy(update={"host": host, "kernels": kernels})
    peak, memory = (f.model_copy(update={"value": v})
                    for f, v in ((known.peak_flop_per_s["fp32"], 2e10),
                                 (known.memory_bytes_per_s, 4e9)))  # fmt: skip
    known = known.model_copy(
        update={"peak_flop_per_s": {"fp32": peak, "bf16": peak}, "memory_bytes_per_s": memory,
                "network": (level_of("process", 8, LINK, "a test"), base.network[1])}
    )  # fmt: skip
    return with_figures(known, TRUTH, "a test")


AS_IF = {"launch": 1e-2, "to device": 1e-2, "from device": 1e-2, "new memory": 3e-2,
         "kept memory": 1e-2}  # fmt: skip
"""Seconds of what no constant prices."""


def timed(profile: HardwareProfile, noise: float, seed: int = 0) -> list[Measured]:
    """Return what the whole menu takes on a machine, with noise."""
    random = np.random.default_rng(seed)
    cluster = build(profile, 8)
    made = []
    for point in menu(SCOPE):
        if point.kind in AS_IF:
            made.append(Measured(point, Reading(AS_IF[point.kind], 0.1, 0, 5)))
            continue
        whole = dataclasses.replace(point, busy=0)
        seconds = exchange_s(cluster, point) if point.level else kernel_s(profile, whole)
        if point.busy:
            seconds *= slowdown(SHARE, point.busy) / slowdown(SHARE, 8)
        made.append(Measured(point, Reading(seconds * np.exp(random.normal(0, noise)), 0.1, 0, 5)))
    return made


KNOWN = machine()
