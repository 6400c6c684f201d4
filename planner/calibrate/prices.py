"""What a profile says that a measured kernel takes: by the very functions that price plans.

Parts: `kernel_s`, `error_of`.
"""

from collections.abc import Callable, Mapping

from costmodels.products import grouped_matmul_s, matmul_s
from costmodels.roofline import memory_bound_s
from hardware_profiles.schema import HardwareProfile
from planner.calibrate.elementwise import LAYER, LAYER_OPS, traffic_elements
from planner.calibrate.points import Point
from planner.calibrate.products import PAIRS
from planner.workloads.training.operators import BACKWARD_ATTENTION, BACKWARD_ATTENTION_TRAFFIC
from planner.workloads.training.rates import Rates, rates_alone

__all__ = ["ELEMENT", "kernel_s"]

ELEMENT = {"fp32": 4.0, "bf16": 2.0}
"""Bytes of an element."""
Sizes = Mapping[str, int]


def _products(sizes: Sizes, rates: Rates, element: float) -> float:
    m, n, k = (float(sizes[name]) for name in "mnk")
    pair = _product(m, n, k, rates, element) + _product(m, k, n, rates, element)
    return PAIRS * pair


def _gradients(sizes: Sizes, rates: Rates, element: float) -> float:
    """Two products, the gradients of both inputs, and of both weights."""
    m, n, k = (float(sizes[name]) for name in "mnk")
    shapes = ((m, n, k), (m, k, n)) * 2 + ((n, k, m), (k, n, m))
    return sum(_product(*shape, rates, element) for shape in shapes)


def _product(m: float, n: float, k: float, rates: Rates, element: float) -> float:
    return float(matmul_s(m, n, k, rates.matmul, element, element))


def _experts(sizes: Sizes, rates: Rates, element: float) -> float:
    experts, n, k = (float(sizes[name]) for name in ("experts", "n", "k"))
    rows = experts * sizes["rows"]
    up = grouped_matmul_s(rows, experts, n, k, rates.grouped, element, element)
    return float(up + grouped_matmul_s(rows, experts, k, n, rates.grouped, element, element))


def _attention(sizes: Sizes, rates: Rates, element: float) -> float:
    return _attends(sizes, rates, element, forward=True)


def _attention_backward(sizes: Sizes, rates: Rates, element: float) -> float:
    return _attends(sizes, rates, element, forward=False)


def _attends(sizes: Sizes, rates: Rates, element: float, *, forward: bool) -> float:
    tokens, width = float(sizes["tokens"]), float(sizes["head_dim"])
    queries, keys = sizes["heads"] * width, sizes["kv_heads"] * width
    pairs = 0.5 * (tokens + 1.0)
    flop = 4.0 * pairs * queries * sizes["batch"] * tokens
    traffic = 2.0 * (queries + keys) * sizes["batch"] * tokens * element
    if forward:
        return float(rates.attention_forward.seconds(flop, traffic, 0.0, width))
    return float(
        rates.attention_backward.seconds(
            BACKWARD_ATTENTION * flop, BACKWARD_ATTENTION_TRAFFIC * traffic, 0.0, width
        )
    )


_FORMS: dict[str, Callable[[Sizes, Rates, float], float]] = {
    "products": _products,
    "products with gradients": _gradients,
    "experts": _experts,
    "attention": _attention,
    "attention backward": _attention_backward,
}


def kernel_s(profile: HardwareProfile, point: Point) -> float:
    """Seconds of a point that is one device's work, all devices of the host busy."""
    rates, element = rates_alone(profile, point.precision), ELEMENT[point.precision]
    if point.kind in _FORMS:
        return _FORMS[point.kind](point.sizes, rates, element)
    traffic = traffic_elements(point.kind, point.sizes) * element
    fixed_s = rates.memory_fixed_s * (LAYER_OPS if point.kind in LAYER else 1.0)
    return float(memory_bound_s(traffic, rates.memory_bytes_per_s, fixed_s))
