"""The oracle's single modules: the operators that run again, and those whose inputs are not kept.

Of layers with grouped-query attention; written from Megatron-Core's own layers.
"""

from collections.abc import Iterable
from dataclasses import replace

from oracle_model import Layer, Work

__all__ = ["freed_of", "modules_of", "rerun"]

SHARED = ("shared up", "shared act", "shared down")
EXPERTS = ("experts up", "experts act", "experts down")
AGAIN = {
    "core_attn": ("attention",),
    "moe_act": ("experts act",),
    "layernorm": ("pre-mlp norm",),
    "mlp": ("pre-mlp norm", "up", "act", "down"),
    "moe": ("router", "permute", "trip", *EXPERTS, "home", "unpermute", *SHARED),
    "shared_experts": SHARED,
}
FREED = {
    "core_attn": (),
    "moe_act": ("experts down",),
    "layernorm": ("router", "shared up"),
    "mlp": ("up", "act", "down"),
    "moe": (*EXPERTS, *SHARED),
    "shared_experts": SHARED,
}


def modules_of(mode: object) -> list[str]:
    """Return the modules that a mode lists, `selective` alone being no list."""
    return list(mode.get("selective", [])) if isinstance(mode, dict) else []


def _there(layer: Layer, modules: Iterable[str]) -> list[str]:
    """Drop what a layer has none of: norms beside dense products are part of these."""
    dense = {"mlp"} if layer.name == "dense" else {"layernorm", "moe_act", "moe", "shared_experts"}
    if layer.name == "vision":
        dense = set()
    return [m for m in modules if m == "core_attn" or m in dense]


def rerun(layer: Layer, modules: list[str]) -> Layer:
    """Return the part of a layer that modules run again, as a layer."""
    names = {name for m in _there(layer, modules) for name in AGAIN[m]}
    ops = [op for op in layer.ops if op.name in names]
    pairs = sum(op.name in ("down", "shared down") for op in ops)
    trips = layer.trips if any(op.name == "trip" for op in ops) else 0
    return replace(layer, ops=ops, pairs=float(pairs), trips=trips, apart=True)


def freed_of(layer: Layer, module: str) -> list[Work]:
    """Return the operators of a layer whose inputs a module does not keep."""
    names = FREED[module] if _there(layer, [module]) else ()
    return [op for op in layer.ops if op.name in names]
