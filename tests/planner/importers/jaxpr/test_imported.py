"""A JAX function comes out as the operators that it is: labels, arithmetic, memory, regions."""

import jax
import pytest

from planner.errors import SpecError
from planner.importers.jaxpr import find, import_function
from planner.operator_graph import Operator, OperatorGraph

TOKENS = {"tokens": [4, 32]}


def flop(graph: OperatorGraph) -> float:
    return sum(op.flop * op.repeats for op in graph.operators)


def kept_bytes(graph: OperatorGraph) -> float:
    held = {
        (o.tensor, op.repeats): graph.tensors[o.tensor]
        for op in graph.operators
        for o in (*op.operands, op.result, *op.inner)
        if (o.saved or o in op.inner) and not graph.tensors[o.tensor].parameter
    }
    return sum(t.elements * t.element_bytes * times for (_, times), t in held.items())


def compiled(reference: str, inputs: dict[str, jax.ShapeDtypeStruct], grad: bool = False):
    function = find(reference)
    parameters = jax.eval_shape(function.init, jax.random.key(0))

    def run(p, given):
        return function.loss(p, **given)

    return jax.jit(jax.grad(run) if grad else run).lower(parameters, inputs).compile()


def read(op: Operator) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {operand.tensor: operand.labels for operand in op.operands}


def op_of(graph: OperatorGraph, name: str) -> Operator:
    return next(op for op in graph.operators if op.name == name)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("unrolled", {"tokens": [4, 32]}),
        ("convolutions", {"images": [8, 15, 16, 3], "labels": [8]}),
        ("experts", {"x": [64, 64]}),
        ("mlp", {"x": [16, 64]}),
    ],
)
def test_arithmetic_is_what_xla_counts(name: str, inputs: dict[str, list[int]]) -> None:
    made = import_function(f"jax_models:{name}", inputs, float_dtype="float32")
    given = {
        key: jax.ShapeDtypeStruct(tuple(shape), made.dtypes[key]) for key, shape in inputs.items()
    }
    counted = compiled(f"jax_models:{name}", given).cost_analysis()["flops"]
    assert flop(made.graph) == pytest.approx(counted, rel=0.03)


def test_a_loop_counts_as_its_layers_written_out() -> None:
    loop = import_function("jax_models:loss", TOKENS).graph
    written = import_function("jax_models:unrolled", TOKENS).graph
    assert flop(loop) == flop(written)
    assert kept_bytes(loop) == kept_bytes(written)
    assert [op.kind for op in loop.operators] == [op.kind for op in written.operators]
    assert {times for times, _ in loop.repeated.values()} == {3}
    assert {times for times, _ in written.repeated.values()} == {3}
    ((times, pairs),) = written.repeated.values()
    assert [(graph_op.region, times) for graph_op in written.operators][1] == ("layers", 3)
    assert len(pairs) == 1 and pairs[0][1] == "embedding lookup"


def test_products_by_hand() -> None:
    graph = import_function("jax_models:loss", TOKENS).graph
    tokens, hidden, wide = 4 * 32, 64, 256
    assert op_of(graph, "layers/up product").flop == 2 * tokens * hidden * wide
    scores = op_of(graph, "product")  # queries by keys, of all heads
    assert scores.flop == 2 * 4 * 4 * 32 * 32 * 16
    assert scores.backward == 2.0


def test_labels_of_attention_follow_from_the_code() -> None:
    graph = import_function("jax_models:loss", TOKENS).graph
    query = op_of(graph, "layers/q product")
    (batch,), (row,), (head,), (width,) = query.result.labels
    assert read(query)["layers/q"][1:] == ((head,), (width,))
    assert query.contracted == {read(query)["layers/q"][0][0]}
    softmax = op_of(graph, "softmax")
    assert softmax.whole == {softmax.result.labels[-1][0]}  # rows are whole, heads are not
    out = op_of(graph, "layers/o product")
    assert len(out.contracted) == 2  # heads and their width: row-parallel by heads
    norm = op_of(graph, "layers/gain norm")
    assert norm.whole == {norm.result.labels[-1][0]}


def test_lookup_and_loss_leave_the_vocabulary_free() -> None:
    graph = import_function("jax_models:loss", TOKENS).graph
    lookup, loss = op_of(graph, "embedding lookup"), op_of(graph, "cross-entropy")
    assert lookup.kind == "lookup" and lookup.contracted - lookup.whole
    assert loss.kind == "loss"
    logits = read(loss)["head product"]
    assert logits[2][0] in loss.contracted - loss.whole


def test_what_is_kept_is_what_jax_keeps() -> None:
    """Against XLA's own buffers: most of a backward pass's temporary memory is what is kept."""
    graph = import_function("jax_models:unrolled", TOKENS, float_dtype="float32").graph
    given = {"tokens": jax.ShapeDtypeStruct((4, 32), "int32")}
    used = compiled("jax_models:unrolled", given, grad=True).memory_analysis()
    assert 0.7 * used.temp_size_in_bytes < kept_bytes(graph) < 1.1 * used.temp_size_in_bytes


def test_rematerialised_layers_keep_their_input_and_run_again() -> None:
    plain = import_function("jax_models:loss", TOKENS).graph
    again = import_function("jax_models:remat", TOKENS).graph
    inside = [op for op in again.operators if op.region]
    outside = kept_bytes(again) - 3 * 4 * 32 * 64 * 2
    assert outside < kept_bytes(plain) / 10
    assert {op.name: op.backward for op in inside}["layers/up product"] == 3.0
    assert {op.name: op.backward for op in inside}["layers/down product"] == 2.0  # not needed
    assert flop(again) == pytest.approx(flop(plain), rel=0.001)


def test_a_recurrent_state_couples_back() -> None:
    graph = import_function("jax_models:recurrent", {"series": [4, 20, 32]}).graph
    ((times, pairs),) = graph.repeated.values()
    assert times == 20 and pairs == (("tanh", "scan start"),)
    assert op_of(graph, "cell/0 product").backward == 2.0


def test_experts_are_a_label_like_any_other() -> None:
    graph = import_function("jax_models:experts", {"x": [64, 64]}).graph
    up = op_of(graph, "experts/0 product")
    expert = read(up)["experts/0"][0][0]
    assert up.result.labels[0] == (expert,) and expert not in up.whole


def test_parameters_know_their_leaves() -> None:
    made = import_function("jax_models:mlp", {"x": [16, 64]})
    (held,) = {o.tensor for op in made.graph.operators if op.region for o in op.operands
               if made.graph.tensors[o.tensor].parameter}  # fmt: skip
    every = [path for p in made.parameters.values() for path in p.paths]
    assert sorted(every) == [f"mlp/{i}" for i in range(4)]
    assert len(made.parameters[held].paths) == 3  # the first layer reads data: no gradient to it
    assert not made.graph.tensors[held].shared
    stacked = import_function("jax_models:loss", TOKENS)
    assert stacked.parameters["layers/q"].lead == 1
    assert stacked.parameters["layers/q"].paths == ("layers/q",)
    assert not stacked.graph.tensors["layers/q"].shared
    recurrent = import_function("jax_models:recurrent", {"series": [4, 20, 32]})
    assert recurrent.graph.tensors["cell/0"].shared  # one weight for all twenty steps


def test_products_side_by_side_are_no_layers() -> None:
    graph = import_function("jax_models:attention", {"tokens": [4, 32]}).graph
    names = [op.name for op in graph.operators]
    assert {"layers/q product", "layers/k product", "layers/v product"} <= set(names)
    assert graph.repeated == {}


def test_dims_that_were_merged_come_apart_again() -> None:
    graph = import_function("jax_models:pixels", {"images": [2, 8, 8, 64]}).graph
    product = op_of(graph, "head product")
    assert len(read(product)["images"]) == 4
    assert graph.tensors["head product"].shape == (2, 8, 8, 128)


def test_the_unknown_is_said() -> None:
    made = import_function("jax_models:cholesky", {"x": [16, 64]})
    assert made.opaque == ("cholesky",)
    assert set(op_of(made.graph, "cholesky").sizes) == op_of(made.graph, "cholesky").whole


def test_the_same_function_gives_the_same_graph() -> None:
    one, other = (import_function("jax_models:experts", {"x": [64, 64]}) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("reference", "inputs", "said"),
    [
        ("jax_models", {"x": [4]}, "allowed: package.module:function"),
        ("no_such_module:loss", {"x": [4]}, "cannot import no_such_module"),
        ("jax_models:nothing", {"x": [4]}, "module jax_models has no function nothing"),
        ("json:loads", {"x": [4]}, "module json has no function init"),
        ("jax_models:vector", {"x": [4, 64]}, "must return a scalar loss"),
        ("jax_models:mlp", {"x": [4, 65]}, "cannot be traced with these inputs"),
        ("jax_models:mlp", {"y": [4, 64]}, "cannot be traced with these inputs"),
        ("jax_models:mlp", {"x": "four"}, "a list of sizes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    reference: str, inputs: dict[str, object], said: str
) -> None:
    with pytest.raises(SpecError) as error:
        import_function(reference, inputs)
    assert said in error.value.message and "\n" not in error.value.message
    assert error.value.key.startswith("workload.model.")
