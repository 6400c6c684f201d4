"""What splitting a label means, against arrays: the parts that ranks compute make the whole.

Each operator is an einsum. Ranks of a small mesh get the slices that the option's layouts say;
what they compute, put together as the result's layout says, is the whole result; and their
gradients, put together as the operands' gradient layouts say, are the whole gradients.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.operator_graph import Labels, Operand, Operator, Tensor
from planner.sharding.layouts import (
    PARTIAL,
    WHOLE,
    OperatorOptions,
    layouts_of_tensor,
    local_elements,
    options_of,
    splittable,
)
from planner.sharding.mesh import Axis, Mesh

Array = NDArray[np.float64]
MESH: Mesh = (Axis("x", 2, ()), Axis("y", 3, ()))
SIZES = {"a": 6, "b": 12, "c": 6, "d": 2}
EINSUMS = ("ab,bc->ac", "ab,b->ab", "dab,dbc->dac", "ab,ab->", "ab->a", "abc->bca", "ab,bc,cd->ad")


def labels_of(text: str) -> Labels:
    return tuple((letter,) for letter in text)


def operator_of(einsum: str) -> Operator:
    reads, made = einsum.split("->")
    used = set(einsum) & set(SIZES)
    return Operator(
        "op",
        "product",
        {x: SIZES[x] for x in sorted(used)},
        tuple(Operand(f"t{i}", labels_of(text)) for i, text in enumerate(reads.split(","))),
        Operand("out", labels_of(made)),
    )


def ranks() -> Iterator[tuple[int, ...]]:
    return iter(np.ndindex(*(axis.degree for axis in MESH)))


def piece(whole: Array, layout: NDArray[np.int64], rank: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the indices of a rank's part: of axes that split one dim, the first is outermost."""
    at = [slice(0, n) for n in whole.shape]
    for axis, dim, here in zip(MESH, layout, rank, strict=True):
        if dim >= 0:
            start, stop = at[dim].start, at[dim].stop
            step = (stop - start) // axis.degree
            at[dim] = slice(start + here * step, start + (here + 1) * step)
    return tuple(at)


def put_together(shape: tuple[int, ...], layout: NDArray[np.int64], parts: dict) -> Array:
    """Sum parts over partial axes; of copies on whole axes, which must agree, take one."""
    total = np.zeros(shape)
    copies = [a for a, code in enumerate(layout) if code == WHOLE]
    for rank, part in parts.items():
        first = tuple(0 if a in copies else r for a, r in enumerate(rank))
        np.testing.assert_allclose(part, parts[first])
        if rank == first:
            total[piece(total, layout, rank)] += part
    return total


@pytest.mark.parametrize("einsum", EINSUMS)
def test_parts_make_the_whole_forward_and_backward(einsum: str) -> None:
    op = operator_of(einsum)
    rng = np.random.default_rng(0)
    reads = [o.labels for o in op.operands]
    arrays = [rng.normal(size=[SIZES[x] for (x,) in labels]) for labels in reads]
    whole = np.einsum(einsum, *arrays)
    above = rng.normal(size=whole.shape)
    options = options_of(op, MESH)
    texts, made = einsum.split("->")[0].split(","), einsum.split("->")[1]
    for row in range(len(options.picks)):
        layouts = [options.operand(labels)[row] for labels in reads]
        local = {
            rank: [x[piece(x, layout, rank)] for x, layout in zip(arrays, layouts, strict=True)]
            for rank in ranks()
        }
        parts = {rank: np.einsum(einsum, *given) for rank, given in local.items()}
        np.testing.assert_allclose(put_together(whole.shape, options.result()[row], parts), whole)
        wanted = options.wanted()[row]
        for i, text in enumerate(texts):
            others = [t for j, t in enumerate(texts) if j != i]
            missing = [x for x in text if x not in "".join(others) + made]
            back = ",".join([made, *others]) + "->" + "".join(x for x in text if x not in missing)

            def gradient(given: list[Array], above_here: Array, shape: tuple[int, ...],
                         i: int = i, back: str = back, text: str = text,
                         missing: list[str] = missing) -> Array:  # fmt: skip
                rest = [x for j, x in enumerate(given) if j != i]
                found = np.einsum(back, above_here, *rest)
                places = tuple(text.index(x) for x in missing)
                return np.broadcast_to(np.expand_dims(found, places), shape).copy()

            parts = {
                rank: gradient(given, above[piece(above, wanted, rank)], given[i].shape)
                for rank, given in local.items()
            }
            found = put_together(arrays[i].shape, options.gradient(reads[i])[row], parts)
            np.testing.assert_allclose(found, gradient(arrays, above, arrays[i].shape))


def product(**more: object) -> OperatorOptions:
    return options_of(operator_of("ab,bc->ac"), MESH)


def test_every_label_on_every_axis_where_it_divides() -> None:
    options = product()
    assert len(options.names()) == len(set(options.names())) == 4 * 4
    assert "x:a y:a" in options.names()
    assert "none" in options.names()
    uneven = options_of(
        Operator("op", "elementwise", {"a": 4, "b": 9}, (Operand("t", labels_of("ab")),),
                 Operand("out", labels_of("ab"))),
        MESH,
    )  # fmt: skip
    assert set(uneven.names()) == {"none", "x:a", "y:b", "x:a y:b"}


def test_what_is_whole_or_minor_is_not_split() -> None:
    op = Operator(
        "reshape", "reshape", {"a": 6, "b": 6, "c": 1, "d": 6},
        (Operand("t", (("a", "b"), ("c",), ("d",))),), Operand("out", (("a",), ("b",), ("d",))),
        whole=frozenset("d"),
    )  # fmt: skip
    assert splittable(op) == ("a",)


def test_sizes_and_pieces_are_local() -> None:
    options = product()
    row = options.names().index("x:a y:a")
    assert options.pieces("a")[row] == 6
    assert options.size("a")[row] == 1.0
    assert options.size("b")[row] == 12.0
    tensor = Tensor("t", (6, 12))
    assert local_elements(tensor, MESH, options.operand(labels_of("ab")))[row] == 12.0
    row = options.names().index("x:b y:c")
    assert options.result()[row].tolist() == [PARTIAL, 1]
    assert options.wanted()[row].tolist() == [WHOLE, 1]


def test_layouts_of_a_tensor_are_whole_pieces() -> None:
    found = {tuple(row) for row in layouts_of_tensor((4, 3), MESH, (0, 1))}
    assert found == {(-1, -1), (-1, 1), (0, -1), (0, 1)}
