"""One plan as columns, written by its degrees; the rest takes plain defaults."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.cluster.choices import clusters
from planner.dims import ALL_LAYERS, CODES, OFFLOAD, ORDERS, ParallelDims, code_of_modules
from planner.job import Job
from planner.spec import load_mapping
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["GPT", "context_of", "job_of", "row", "taken"]

GPT: Mapping[str, Any] = {
    "name": "gpt", "layers": 8, "hidden": 2048, "ffn_hidden": 8192, "heads": 16, "kv_heads": 16,
    "vocab": 51200, "gated_mlp": False, "tied_embeddings": False, "position": "learned",
    "max_positions": 2048,
}  # fmt: skip
"""A plain GPT: every published formula of activations and FLOP is about one of these."""


def job_of(
    *,
    model: Mapping[str, Any] | str = GPT,
    devices: int = 8,
    system: str = "dgx-h100",
    preset: str = "megatron-core",
    sequence: int = 2048,
    batch: int = 64,
    precision: str = "bf16",
    strategy: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Job[TrainingSpec]:
    """Load a job; `sections` are merged over the sections of the file."""
    raw: dict[str, Any] = {
        "workload": {
            "kind": "training", "model": model, "sequence_length": sequence,
            "global_batch": batch, "precision": precision,
        },
        "hardware": {"system": system, "devices": devices},
        "software": {"preset": preset},
        "strategy": dict(strategy or {}),
    }  # fmt: skip
    for name, given in sections.items():
        raw[name] = {**raw.get(name, {}), **given} if isinstance(given, Mapping) else given
    return load_mapping(raw)


def context_of(job: Job[TrainingSpec]) -> training.Context:
    """Return the job on its one cluster."""
    (cluster,) = clusters(job.hardware)
    return training.make(job, cluster)


def row(context: training.Context, **given: Any) -> ParallelDims:
    """One plan: degrees as numbers, schedule, recompute and cp_comm by name, the rest follows.

    `recompute` a tuple: the modules that are recomputed.
    """
    batch = context.spec.global_batch
    made: dict[str, Any] = {
        "devices": context.cluster.devices, "tp": 1, "cp": 1, "pp": 1, "vpp": 1, "ep": 1, "etp": 1,
        "zero": 0, "micro_batch": 1, "schedule": "1f1b", "cp_comm": "p2p", "recompute": "none",
        "recompute_layers": ALL_LAYERS, "offload": (), "lean": 0,
        "staging": len(context.stagings), "order": ORDERS[0],
    } | given  # fmt: skip
    made.setdefault("sp", float(made["tp"] > 1))
    made.setdefault("dp", made["devices"] / (made["tp"] * made["cp"] * made["pp"]))
    made.setdefault("zero_group", made["dp"] * made["cp"])
    made.setdefault("microbatches", batch / (made["dp"] * made["micro_batch"]))
    modules = made["recompute"] if isinstance(made["recompute"], tuple) else ()
    for name in ("schedule", "cp_comm", *(() if modules else ("recompute",))):
        made[name] = CODES[name].index(made[name])
    if modules:
        made["recompute"] = code_of_modules(modules)
    made["order"] = ORDERS.index(tuple(made["order"]))
    made["offload"] = sum(1 << OFFLOAD.index(what) for what in made["offload"])
    return ParallelDims.from_columns(made)


def taken(column: Any) -> float:
    """Return the one value of a column of length one, or of a number."""
    return float(np.asarray(column).reshape(-1)[0])
