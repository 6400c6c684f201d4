"""Passes over blocks as terms of a step, by what they do.

Names them and says where they are from; prices nothing.

Parts: `compute_terms`, `comm_terms`, `tower_term`.
"""

from costmodels.breakdown import Term
from costmodels.units import Num
from planner.workloads.training.passes import Pass

__all__ = ["comm_terms", "compute_terms", "tower_term"]

KERNELS = "roofline; chip's kernel constants"


def _device_s(time: Pass) -> Num:
    """Seconds of kernels of a pass."""
    e = time.exposed
    return e["matmul"] + e["experts"] + e["attention"] + e["memory"]


def compute_terms(forward: Pass, backward: Pass, again: Pass, ends: Pass, rest: Pass) -> list[Term]:
    """Terms of kernels and launches: of layers, of what is run again, and of all beside layers.

    `ends`: embedding and head, both passes; `rest`: these and a tower.
    """
    f, b, kernels = forward.exposed, backward.exposed, KERNELS
    return [
        Term("matrix products, forward", "compute", f["matmul"], kernels),
        Term("matrix products, backward", "compute", b["matmul"], kernels),
        Term("expert products", "compute", f["experts"] + b["experts"], kernels),
        Term("attention, forward", "compute", f["attention"], kernels),
        Term("attention, backward", "compute", b["attention"], kernels),
        Term("norms and elementwise", "hbm", f["memory"] + b["memory"], kernels),
        Term("recomputation", "compute", again.total_s,
             "passes.RECOMPUTED share of forward; modules by operator"),
        Term("embedding, logits and loss", "compute", _device_s(ends), kernels),
        Term("launch gaps", "host", f["launch"] + b["launch"] + rest.exposed["launch"],
             "stack launch time"),
    ]  # fmt: skip


def comm_terms(forward: Pass, backward: Pass, ends: Pass) -> list[Term]:
    """Terms of communication inside blocks, by axis."""
    names = {
        "tp": "tensor-parallel collectives",
        "cp": "context-parallel exchange",
        "ep": "expert all-to-all",
    }
    return [
        Term(
            name,
            axis,
            forward.exposed[axis] + backward.exposed[axis] + ends.exposed[axis],
            "collectives; links of the cluster",
            forward.hidden[axis] + backward.hidden[axis] + ends.hidden[axis],
        )
        for axis, name in names.items()
    ]


def tower_term(both: Pass) -> Term:
    """Kernels of a vision tower, both passes."""
    return Term("vision tower", "compute", _device_s(both), KERNELS)
