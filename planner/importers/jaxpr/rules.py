"""How labels pass through each primitive.

Each rule takes a node and the axes of its inputs and returns the axes of its results; what a
primitive must see whole it marks so. Source of the semantics: the documentation of `jax.lax` and
of XLA's operations.
"""

from collections.abc import Callable, Sequence

from planner.importers.jaxpr.axes import Axis, Dims, fresh, leaves, match, same
from planner.importers.jaxpr.nodes import Node

__all__ = ["pass_through"]

Rule = Callable[[Node, Sequence[Dims]], list[Dims]]


def pass_through(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Return the axes of a node's results."""
    rule = _RULES.get(node.primitive)
    if rule is not None:
        return rule(node, inputs)
    by_class = {"elementwise": _elementwise, "reduction": _reduction, "view": _same}
    return by_class.get(node.kind, _opaque)(node, inputs)


def _ints(node: Node, key: str) -> tuple[int, ...]:
    return tuple(int(v) for v in node.params[key])


def _keep_whole(dims: Sequence[tuple[Axis, ...]]) -> None:
    for dim in dims:
        for axis in dim:
            axis.keep_whole()


def _join(one: tuple[Axis, ...], other: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Find two dims equal; of a dim of size one and another, keep the other."""
    if one and other:
        match(one, other)
    return one or other


def _same(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    return [list(inputs[0]) for _ in node.outputs]


def _elementwise(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    made: Dims = [() for _ in node.outputs[0].shape]
    full = [dims for dims in inputs if len(dims) == len(made)]  # scalars have no labels
    for dims in full:
        made = [_join(a, b) for a, b in zip(made, dims, strict=True)]
    if not full:
        made = fresh(node.outputs[0].shape)
    return [made for _ in node.outputs]


def _reduction(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    axes = _ints(node, "axes")
    if node.primitive.startswith("arg"):
        _keep_whole([inputs[0][a] for a in axes])
    kept = [d for i, d in enumerate(inputs[0]) if i not in axes]
    return [list(kept) for _ in node.outputs]


def _opaque(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    for dims in inputs:
        _keep_whole(dims)
    return [fresh(v.shape, whole=True) for v in node.outputs]


def _free(node: Node, _: Sequence[Dims]) -> list[Dims]:
    return [fresh(v.shape) for v in node.outputs]


def _reshape(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    made = fresh(node.outputs[0].shape)
    match([a for d in inputs[0] for a in d], [a for d in made for a in d])
    return [made]


def _transpose(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    return [[inputs[0][p] for p in _ints(node, "permutation")]]


def _broadcast(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    made = fresh(_ints(node, "shape"))
    for source, target in enumerate(_ints(node, "broadcast_dimensions")):
        if node.inputs[0].shape[source] != 1:
            made[target] = inputs[0][source]
    return [made]


def _squeeze(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    gone = _ints(node, "dimensions")
    return [[d for i, d in enumerate(inputs[0]) if i not in gone]]


def _resized(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Dims whose size changes are whole; the others pass (slices, pads, windows, updates)."""
    results = []
    for value in node.outputs:
        made: Dims = []
        for dim, (was, now) in enumerate(zip(node.inputs[0].shape, value.shape, strict=True)):
            if was == now and not _moved(node, dim):
                made.append(inputs[0][dim])
                continue
            _keep_whole([inputs[0][dim]])
            made += fresh([now], whole=True)
        results.append(made)
    return results


def _moved(node: Node, dim: int) -> bool:
    """Tell whether a dim of equal size is worked along all the same."""
    if node.primitive == "pad":
        return any(node.params["padding_config"][dim])
    if "window_dimensions" in node.params:
        return _ints(node, "window_dimensions")[dim] != 1
    return False


def _along(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """One dim, or several, must be whole; shapes stay."""
    for key in ("axis", "dimension", "dimensions"):
        if key in node.params:
            at = node.params[key]
            chosen = _ints(node, key) if isinstance(at, Sequence) else (int(node.params[key]),)
            for dims in inputs:
                _keep_whole([dims[a] for a in chosen])
    made = list(inputs[0])
    for dims in inputs[1:]:
        if len(dims) == len(made):
            made = [_join(a, b) for a, b in zip(made, dims, strict=True)]
    return [list(made) for _ in node.outputs]


def _concatenate(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    at = int(node.params["dimension"])
    made = fresh(node.outputs[0].shape)
    _keep_whole([made[at]])
    for dims in inputs:
        _keep_whole([dims[at]])
        for dim, axes in enumerate(dims):
            if dim != at:
                made[dim] = _join(axes, made[dim])
    return [made]


def _update_slice(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    made, update = list(inputs[0]), inputs[1]
    for dim, (was, now) in enumerate(zip(node.inputs[0].shape, node.inputs[1].shape, strict=True)):
        if was == now:
            _join(made[dim], update[dim])
        else:
            _keep_whole([made[dim], update[dim]])
    return [made]


def _index(_: Node, inputs: Sequence[Dims]) -> list[Dims]:
    _keep_whole(inputs[0][:1])
    return [inputs[0][1:]]


def _stack(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    return [fresh(node.outputs[0].shape[:1], whole=True) + inputs[0]]


def _dot(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    (left_in, right_in), (left_batch, right_batch) = node.params["dimension_numbers"]
    left, right = inputs
    for a, b in [*zip(left_in, right_in, strict=True), *zip(left_batch, right_batch, strict=True)]:
        match(left[a], right[b])
    made = [left[a] for a in left_batch]
    made += [d for i, d in enumerate(left) if i not in (*left_in, *left_batch)]
    made += [d for i, d in enumerate(right) if i not in (*right_in, *right_batch)]
    return [made]


def _conv(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Batch and channels can be split; what the window moves along is whole."""
    numbers = node.params["dimension_numbers"]
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    image, kernel = inputs
    made = fresh(node.outputs[0].shape)
    if int(node.params["feature_group_count"]) == 1 and int(node.params["batch_group_count"]) == 1:
        match(image[lhs[1]], kernel[rhs[1]])
        made[out[1]] = kernel[rhs[0]]
    else:
        _keep_whole([image[lhs[1]], kernel[rhs[1]], kernel[rhs[0]], made[out[1]]])
    made[out[0]] = image[lhs[0]]
    for a, b, o in zip(lhs[2:], rhs[2:], out[2:], strict=True):
        _keep_whole([image[a], kernel[b], made[o]])
        one, other = leaves(image[a]), leaves(made[o])
        if len(one) == 1 and len(other) == 1:
            same(one[0], other[0])  # the window's place: rows of the product
    return [made]


def _ragged(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Rows of many experts, sorted: rows and experts stay whole."""
    left, right = inputs[0], inputs[1]
    _keep_whole([left[0], right[0]])
    match(left[1], right[1])
    return [[left[0], right[2]]]


def _gather(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Rows by number: a label of the rows' dim is contracted, as in a one-hot product."""
    numbers = node.params["dimension_numbers"]
    sizes = _ints(node, "slice_sizes")
    source, index = inputs[0], inputs[1]
    _keep_whole(index[-1:])
    offset = tuple(numbers.offset_dims)
    gone = tuple(numbers.collapsed_slice_dims)
    paired = tuple(numbers.operand_batching_dims)
    for a, b in zip(paired, numbers.start_indices_batching_dims, strict=True):
        match(source[a], index[b])
    shape = node.outputs[0].shape
    made: Dims = [() for _ in shape]
    rows = [d for d in range(len(shape)) if d not in offset]
    for place, axes in zip(rows, index[:-1], strict=True):
        made[place] = axes
    window = [d for d in range(len(source)) if d not in (*gone, *paired)]
    for place, dim in zip(offset, window, strict=True):
        if sizes[dim] == node.inputs[0].shape[dim]:
            made[place] = source[dim]
        else:
            _keep_whole([source[dim]])
            made[place] = fresh([sizes[dim]], whole=True)[0]
    return [made]


def _scatter(node: Node, inputs: Sequence[Dims]) -> list[Dims]:
    """Rows written by number: the rows' dim is whole, windows and what is summed can be split."""
    numbers = node.params["dimension_numbers"]
    source, index, update = inputs
    _keep_whole(index[-1:])
    window = tuple(numbers.update_window_dims)
    gone = tuple(numbers.inserted_window_dims)
    paired = tuple(numbers.operand_batching_dims)
    for a, b in zip(paired, numbers.scatter_indices_batching_dims, strict=True):
        match(source[a], index[b])
    _keep_whole([source[d] for d in gone])
    kept = [d for d in range(len(source)) if d not in (*gone, *paired)]
    for place, dim in zip(window, kept, strict=True):
        if node.inputs[2].shape[place] == node.inputs[0].shape[dim]:
            match(update[place], source[dim])
        else:
            _keep_whole([source[dim], update[place]])
    rows = [d for d in range(len(update)) if d not in window]
    for place, axes in zip(rows, index[:-1], strict=True):
        match(update[place], axes)
        if "add" not in node.primitive:
            _keep_whole([axes])
    return [list(source)]


_RULES: dict[str, Rule] = {
    "iota": _free, "reshape": _reshape, "transpose": _transpose, "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze, "slice": _resized, "split": _resized, "pad": _resized,
    "dynamic_slice": _resized, "top_k": _resized, "reduce_window": _resized,
    "reduce_window_sum": _resized, "reduce_window_max": _resized, "reduce_window_min": _resized,
    "select_and_gather_add": _resized, "index": _index, "stack": _stack,
    "concatenate": _concatenate, "dynamic_update_slice": _update_slice, "sort": _along,
    "rev": _along, "cumsum": _along, "cumprod": _along, "cummax": _along, "cummin": _along,
    "cumlogsumexp": _along, "dot_general": _dot, "conv_general_dilated": _conv,
    "ragged_dot": _ragged, "gather": _gather,
    "scatter": _scatter, "scatter_add": _scatter, "scatter-add": _scatter,
    "scatter_mul": _scatter, "scatter_min": _scatter, "scatter_max": _scatter,
    "random_bits": _free, "random_wrap": _free, "rng_bit_generator": _free, "rng_uniform": _free,
}  # fmt: skip
