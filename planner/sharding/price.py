"""Seconds of an operator under each of its options, from the local sizes of its labels.

    product     matrix products by roofline: forward, gradient of each operand that has one
    grouped     products of experts, whole tiles for each; the busiest rank's rows
    attention   fused kernel by roofline
    opaque      its FLOP at the products' rate or its traffic, whichever binds
    the others  memory traffic; what moves nothing (a reshape, an exchange) is free

Local traffic is the operator's times the local share of the tensors that flow through it. Launch
gaps are not priced: they are of the whole step, not of one operator's sharding. The formulas are
`costmodels.roofline`; knows figures of one device; no mesh, no layouts.
"""

from dataclasses import dataclass, replace

import numpy as np

from costmodels import products, roofline
from costmodels.products import Product
from costmodels.units import Column, Num
from hardware_profiles.schema import HardwareProfile
from hardware_profiles.stack import Stack, Switches
from planner.operator_graph import Operand, Operator, OperatorGraph
from planner.sharding.layouts import OperatorOptions, local_elements
from planner.workloads.training.context import (
    Context,
    Rates,
    StoredBytes,
    overlap_frac,
)
from planner.workloads.training.operators import BACKWARD_ATTENTION_TRAFFIC
from planner.workloads.training.rates import AttentionRates

__all__ = ["Figures", "OperatorTime", "figures", "element_bytes", "figures_of", "operator_time"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a device reaches, and how it keeps the states of parameters.

    Parameters
    ----------
    rates           : of kernels, at the job's precision
    product_bytes   : of an element at the job's precision; products of wider ones run in 16 bits
    parameter_bytes : per parameter as stored for compute
    gradient_bytes  : per trainable parameter
    state_bytes     : per trainable parameter: master copy and moments
    step_bytes      : read and written per parameter by the optimizer step
    step_bytes_per_s : what the optimizer step reaches
    gradient_overlap_frac, gather_overlap_frac : share of the gradients' reductions and of the
                      parameters' gathers that can run under compute
    """

    rates: Rates
    product_bytes: float
    parameter_bytes: float
    gradient_bytes: float
    state_bytes: float
    step_bytes: float
    step_bytes_per_s: float
    gradient_overlap_frac: float = 0.0
    gather_overlap_frac: float = 0.0


def figures_of(context: Context) -> Figures:
    """Take the figures of a resolved training job, for one microbatch or many a step."""
    stored = StoredBytes(
        context.activation_bytes,
        context.gradient_bytes,
        context.master_bytes,
        context.moment_bytes,
        context.parameter_bytes,
    )
    return figures(
        context.cluster.profile, context.stack, context.switches, context.rates, stored,
        context.product_bytes,
    )  # fmt: skip


def figures(
    profile: HardwareProfile,
    stack: Stack,
    switches: Switches,
    rates: Rates,
    stored: StoredBytes,
    product_bytes: float,
) -> Figures:
    """Return the figures of a device under a software stack."""
    state_bytes = stored.master + stored.moment
    moved = state_bytes + (stored.parameter if stack.family.shards_master else 0.0)
    return Figures(
        rates,
        product_bytes,
        stored.parameter,
        stored.gradient,
        state_bytes,
        2.0 * moved + 2.0 * stored.gradient + stored.activation,
        profile.memory_bytes_per_s.value * stack.family.optimizer_efficiency.value,
        overlap_frac(stack, switches, "dp"),
        overlap_frac(stack, switches, "gather"),
    )


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """Seconds of every option, alone and once, under the name that a report shows.

    `input_s`: of the backward pass, the gradient of the first operand, beside which an operand
    that was kept in pieces is gathered again.
    """

    name: str
    kind: str
    forward_s: Column
    backward_s: Column
    input_s: Column


def operator_time(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    """Price an operator under each of its options (see the module)."""
    kind = options.operator.kind
    if kind == "product":
        return _product(graph, options, figures)
    if kind == "grouped":
        return _grouped(graph, options, figures)
    if kind == "attention":
        return _attention(graph, options, figures)
    if kind == "opaque":
        return _opaque(graph, options, figures)
    return _traffic(graph, options, figures)


def element_bytes(graph: OperatorGraph, operator: Operator, operand: Operand) -> float:
    """Bytes of an element as an operator reads and keeps it: of the narrowest of a product."""
    if operator.kind not in ("product", "grouped"):
        return graph.tensors[operand.tensor].element_bytes
    return min(graph.tensors[o.tensor].element_bytes for o in operator.operands)


def _constants(figures: Figures, element: float) -> Product:
    rates = figures.rates
    return rates.matmul if element <= figures.product_bytes else rates.bf16_matmul


def _labels(operand: Operand) -> set[str]:
    return {label for dim in operand.labels for label in dim}


def _sizes(options: OperatorOptions, labels: set[str]) -> Column:
    total = np.ones(len(options.picks))
    for label in options.operator.sizes:
        if label in labels:
            total = total * options.size(label)
    return total


def _product(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    """C[m, n] = A[m, k] B[k, n]; dA = dC B^T; dB = A^T dC. Labels of all three are batches."""
    op = options.operator
    a, b, c = (_labels(o) for o in (op.operands[0], op.operands[-1], op.result))
    m = _sizes(options, (a & c) - b)
    n = _sizes(options, (b & c) - a)
    k = _sizes(options, (a | b) - c)
    batches = _sizes(options, a & b & c)
    element = element_bytes(graph, op, op.operands[0])
    product = _constants(figures, element)
    both_cast = replace(product, cast_bytes=0.0)
    output = graph.tensors[op.result.tensor].element_bytes

    def seconds(rows: Num, cols: Num, inner: Num, product: Product = product) -> Column:
        return np.asarray(products.matmul_s(rows, cols, inner, product, element, output, batches))

    once_s, none = seconds(m, n, k), np.zeros_like(m)
    input_s = none if _given(graph, op.operands[0]) else seconds(m, k, n)
    weight_s = none if _given(graph, op.operands[-1]) else seconds(k, n, m, both_cast)
    backward_s = input_s + weight_s + _again(graph, op) * once_s
    return OperatorTime("matrix products", "compute", once_s, backward_s, input_s)


def _again(graph: OperatorGraph, operator: Operator) -> float:
    """Count the runs of a product in the backward pass beside its gradients'."""
    learn = sum(not _given(graph, o) for o in (operator.operands[0], operator.operands[-1]))
    return max(0.0, operator.backward - learn)


def _grouped(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    """Rows of all local experts through their products; experts are labels of all three."""
    op, rates = options.operator, figures.rates
    a, b, c = (_labels(o) for o in (op.operands[0], op.operands[-1], op.result))
    experts = _sizes(options, a & b & c)
    rows = experts * _sizes(options, (a & c) - b)
    for label, load in op.uneven.items():
        rows = rows * np.where(options.pieces(label) > 1, load, 1.0)
    element = element_bytes(graph, op, op.operands[0])
    product = rates.grouped if element <= figures.product_bytes else rates.bf16_matmul
    output = graph.tensors[op.result.tensor].element_bytes
    n, k = _sizes(options, (b & c) - a), _sizes(options, (a & b) - c)
    once = np.asarray(products.grouped_matmul_s(rows, experts, n, k, product, element, output))
    gradients = sum(not _given(graph, o) for o in (op.operands[0], op.operands[-1]))
    return OperatorTime("expert products", "compute", once, gradients * once, once)


def _attention(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    op, rates = options.operator, figures.rates
    work = op.flop * np.ones(len(options.picks))
    for label in options.labels:
        work = work / options.pieces(label)
    moved = op.traffic_bytes * _share(graph, options)

    def seconds(flop: Num, traffic: Num, row_flop: float, reached: AttentionRates) -> Column:
        return np.asarray(reached.seconds(flop, traffic, row_flop, op.head_dim))

    forward_s = seconds(work, moved, op.row_flop, rates.attention_forward)
    backward_s = seconds(
        op.backward * work, BACKWARD_ATTENTION_TRAFFIC * moved, op.backward * op.row_flop,
        rates.attention_backward,
    )  # fmt: skip
    return OperatorTime("attention", "compute", forward_s, backward_s, backward_s)


def _traffic(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    op, rates = options.operator, figures.rates
    moved = op.traffic_bytes * _share(graph, options)

    def seconds(traffic: Column) -> Column:
        fixed_s = rates.memory_fixed_s * op.launches
        taken = roofline.memory_bound_s(traffic, rates.memory_bytes_per_s, fixed_s)
        return np.where(traffic > 0, taken, 0.0)

    backward_s = seconds(op.backward * moved)
    return OperatorTime("norms and elementwise", "hbm", seconds(moved), backward_s, backward_s)


def _opaque(graph: OperatorGraph, options: OperatorOptions, figures: Figures) -> OperatorTime:
    op, rates = options.operator, figures.rates
    product = _constants(figures, element_bytes(graph, op, op.result))
    share = _share(graph, options)
    bound = roofline.smooth_max(
        op.flop * share / product.flop_per_s, op.traffic_bytes * share / rates.memory_bytes_per_s
    )
    forward_s = np.where(bound > 0, op.launches * product.fixed_s + bound, 0.0)
    return OperatorTime("unknown operators", "compute", forward_s, op.backward * forward_s,
                        op.backward * forward_s)  # fmt: skip


def _share(graph: OperatorGraph, options: OperatorOptions) -> Column:
    """Local share of the tensors that flow through an operator; its weights aside."""
    op = options.operator
    flowing = [o for o in op.operands if not graph.tensors[o.tensor].parameter]
    if op.kind == "lookup":
        flowing = []  # rows are read where they are wanted, whatever the table's size
    whole, local = 0.0, np.zeros(len(options.picks))
    for operand in (*flowing, op.result):
        tensor = graph.tensors[operand.tensor]
        held = local_elements(tensor, options.mesh, options.operand(operand.labels))
        whole += tensor.elements * tensor.element_bytes
        local = local + held * tensor.element_bytes
    return local / whole


def _given(graph: OperatorGraph, operand: Operand) -> bool:
    return graph.tensors[operand.tensor].given
