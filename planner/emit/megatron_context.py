"""How context-parallel ranks exchange keys and values, as arguments of Megatron-Core.

Transformer Engine's attention refuses a ring for layers with a sliding window, and anything but
an exchange of heads for attention with sinks; what comes nearest is written then, and said.

Parts: `context_args`.
"""

import math

from planner.emit.megatron_model import Arg
from planner.emit.text import Header
from planner.emit.view import PlanView
from planner.models.config import ModelConfig

__all__ = ["context_args"]

CP_COMM = {"p2p": "p2p", "all-gather": "all_gather", "a2a": "a2a", "a2a+p2p": "a2a+p2p"}
RINGS = ("p2p", "a2a+p2p")


def context_args(view: PlanView, header: Header) -> list[Arg]:
    """Return the exchange of a plan that splits sequences, or the nearest that is allowed."""
    mesh = view.mesh
    if mesh.cp == 1:
        return []
    if view.workload.sequence_length % (2 * mesh.cp):
        header.not_expressible("a sequence that is not whole in 2*cp parts", "none; it is refused")
    if not view.switches.overlap_cp:
        header.not_expressible("context exchange that is not overlapped", "overlapped where p2p")
    heads = view.model.kv_heads_or_all // math.gcd(view.model.kv_heads_or_all, mesh.tp)
    allowed = _allowed(view, header, heads)
    if allowed != "a2a+p2p":
        return [("--cp-comm-type", CP_COMM[allowed])]
    inner = math.gcd(mesh.cp, heads)
    if inner in (1, mesh.cp):
        only = "p2p" if inner == 1 else "a2a"
        header.not_expressible("a2a+p2p with these heads and degrees", only)
        return [("--cp-comm-type", only)]
    header.chosen(f"of cp {mesh.cp}, {inner} ranks exchange heads and {mesh.cp // inner} a ring")
    sizes = (str(inner), str(mesh.cp // inner))
    return [("--cp-comm-type", "a2a+p2p"), ("--hierarchical-context-parallel-sizes", *sizes)]


def _allowed(view: PlanView, header: Header, heads: int) -> str:
    """Return the exchange itself, or the nearest that the model's attention allows."""
    wanted = view.mesh.cp_comm
    if view.model.attention_sinks and wanted != "a2a":
        whole = heads % view.mesh.cp == 0
        nearest = "a2a" if whole else "none; it is refused"
        header.not_expressible(f"context exchange by {wanted} with attention sinks", nearest)
        return "a2a" if whole else wanted
    if _slides(view.model) and wanted in RINGS:
        header.not_expressible(f"context exchange by {wanted} with sliding windows", "all-gather")
        return "all-gather"
    return wanted


def _slides(model: ModelConfig) -> bool:
    """Whether some layer's attention has a window."""
    kinds = (model.layer_type(layer) for layer in range(model.layers))
    return model.attention.window is not None and "sliding_attention" in kinds
