"""Arithmetic of one run of a primitive, counted as XLA's cost analysis counts it."""

import math

import numpy as np

from planner.importers.jaxpr.nodes import Node
from planner.importers.jaxpr.primitives import TRANSCENDENTAL

__all__ = ["flop_of"]


def flop_of(node: Node) -> float:
    """Arithmetic of one run: products exactly; elsewhere one for each element, as XLA counts.

    Transcendental functions count nothing here (XLA lists them apart), nor do views.
    """
    kind, out = node.kind, node.outputs[0]
    if node.primitive == "dot_general":
        (left_in, _), _ = node.params["dimension_numbers"]
        inner = math.prod(node.inputs[0].shape[a] for a in left_in)
        return 2.0 * out.elements * float(inner)
    if node.primitive == "conv_general_dilated":
        return _conv_flop(node)
    if kind == "product":
        return 2.0 * out.elements * node.inputs[0].shape[-1]
    if kind in ("reduction", "scatter"):
        return node.inputs[-1 if kind == "scatter" else 0].elements
    if kind == "elementwise":
        return 0.0 if node.primitive in TRANSCENDENTAL else out.elements
    return float(node.params.get("flop", 0.0)) if node.primitive == "cond" else 0.0


def _conv_flop(node: Node) -> float:
    """Two for each pair of a kernel's entry and a place where it meets the image, not padding."""
    numbers, params = node.params["dimension_numbers"], node.params
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    image, kernel, made = node.inputs[0].shape, node.inputs[1].shape, node.outputs[0].shape
    pairs = 1.0
    for dim in range(len(lhs) - 2):
        stride, (low, _) = params["window_strides"][dim], params["padding"][dim]
        apart, spread = params["rhs_dilation"][dim], params["lhs_dilation"][dim]
        at = np.arange(made[out[dim + 2]])[:, None] * stride
        at = at + np.arange(kernel[rhs[dim + 2]])[None, :] * apart - low
        size = image[lhs[dim + 2]]
        inside = (at >= 0) & (at <= (size - 1) * spread) & (at % spread == 0)
        pairs *= float(inside.sum())
    return float(2.0 * made[out[0]] * made[out[1]] * kernel[rhs[1]] * pairs)
