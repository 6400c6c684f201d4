"""Measured runs made by the planner itself under other constants: a fit must find them again."""

import json

import numpy as np
from rows import GPT

from planner.fitting import Bench
from planner.validate.prepared import prepare_all


def job(devices=8, preset="megatron-core", **strategy):
    strategy = {"tp": 1, "pp": 1, "micro_batch": 1, "recompute": "none", "zero": 1, **strategy}
    return {
        "workload": {"kind": "training", "model": dict(GPT), "sequence_length": 2048,
                     "global_batch": 64, "precision": "bf16"},
        "hardware": {"system": "dgx-h100", "devices": devices},
        "strategy": strategy,
        "software": {"preset": preset},
    }  # fmt: skip


def runs_file(path, jobs, seconds=None, source="lab"):
    """Write a runs file and return its path."""
    times = np.ones(len(jobs)) if seconds is None else seconds
    runs = [{"id": f"{source}-{i}", "job": j, "measured": {"step_time_s": float(t)}}
            for i, (j, t) in enumerate(zip(jobs, times, strict=True))]  # fmt: skip
    path.write_text(json.dumps({"source": {"name": source}, "runs": runs}), "utf-8")
    return path


def measured_under(path, jobs, constants, factors, source="lab"):
    """Write runs whose times are those under the constants times their factors."""
    bench = Bench(prepare_all([runs_file(path, jobs, source=source)]), constants)
    return runs_file(path, jobs, np.exp(bench.log_errors(factors)), source)
