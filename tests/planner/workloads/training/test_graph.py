"""The graph of a transformer against published counts, sums over tokens and plain arithmetic."""

from dataclasses import replace

import pytest

from planner.models.config import ModelConfig
from planner.models.count import count
from planner.models.load import load, names
from planner.workloads.training.graph import (
    Adapters,
    Documents,
    build,
    flop_per_token,
    layer_kinds,
)

WHOLE = Documents(2048, 2048, 2048)
PLAIN = ("gpt3-175b", "llama-2-70b", "llama-3.1-405b", "mixtral-8x22b", "qwen3-235b-a22b")


@pytest.mark.parametrize("name", names())
def test_the_graph_holds_every_parameter(name):
    model = load(name)
    counted = count(model)
    # biases of experts, sinks and gates have no op of their own: below one in two thousand
    assert build(model, WHOLE).weights() == pytest.approx(counted.total + counted.mtp, rel=5e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_families_are_counted_to_the_last_parameter(name):
    model = load(name)
    assert build(model, WHOLE).weights() == count(model).total


def test_flop_of_a_gpt_are_the_published_formula():
    """Narayanan et al., SC 2021, appendix: 96 b s l h^2 (1 + s/6h + V/16lh) with recomputation."""
    model = load("gpt3-175b")
    s, layers, h, vocab = 2048, model.layers, model.hidden, model.vocab
    with_recompute = 96 * layers * h**2 * (1 + s / (6 * h) + vocab / (16 * layers * h))
    # a fourth forward pass through the layers, attention included, is not model FLOP
    layer_forward = 24 * layers * h**2 * (1 + s / (6 * h))
    published = with_recompute - layer_forward
    assert flop_per_token(model, s, causal=False) == pytest.approx(published, rel=1e-12)


def test_causal_attention_has_half_the_pairs():
    model = load("gpt3-175b")
    full = flop_per_token(model, 2048, causal=False)
    half = flop_per_token(model, 2048, causal=True)
    attention = 12 * model.layers * model.hidden * 2048
    assert full - half == pytest.approx(attention * (1 - (2048 + 1) / (2 * 2048)), rel=1e-9)


@pytest.mark.parametrize(("length", "window"), [(64, 8), (64, 63), (33, 1), (16, 64)])
def test_pairs_are_the_mean_over_tokens(length, window):
    documents = Documents(length, length, length)
    seen = sum(min(i + 1, window) for i in range(length)) / length
    assert documents.pairs(causal=True, window=window) == pytest.approx(seen, rel=1e-12)
    whole = sum(i + 1 for i in range(length)) / length
    assert documents.pairs(causal=True, window=None) == pytest.approx(whole, rel=1e-12)
    assert documents.pairs(causal=False, window=None) == length


def test_packed_documents_bound_what_a_token_sees():
    # half of the tokens in documents of 100, half in documents of 300: E[L^2]/E[L] = 200
    packed = Documents(4096.0, 150.0, 200.0)
    by_token = (sum(i + 1 for i in range(100)) * 3 + sum(i + 1 for i in range(300))) / 600
    assert packed.pairs(causal=True, window=None) == pytest.approx(by_token)


def test_kinds_of_layers_follow_the_model():
    deepseek = layer_kinds(load("deepseek-v3"))
    assert [k.moe for k in deepseek] == [False] * 3 + [True] * 58
    gemma = ModelConfig(
        layers=7, hidden=64, ffn_hidden=128, heads=4, vocab=100, attention={"window": 16},
        layer_types=("sliding_attention", "full_attention"),
    )  # fmt: skip
    assert [k.name for k in layer_kinds(gemma)] == ["dense sliding", "dense"] * 3 + [
        "dense sliding"
    ]


@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v3", "gpt-oss-20b"])
def test_blocks_partition_the_layers(name):
    model = load(name)
    graph = build(model, WHOLE)
    stands_for = sorted(i for block in graph.blocks for i in block.layers)
    assert stands_for == list(range(model.layers))
    assert all(block.count == len(block.layers) for block in graph.blocks if block.layers)


def test_backward_of_products_is_twice_the_forward():
    graph = build(load("llama-3.1-8b"), WHOLE)
    for kind, ratio in (("matmul", 2.0), ("attention", 2.5)):
        forward = sum(
            b.count * op.flop for b, op in graph.ops() if (op.kind, op.phase) == (kind, "forward")
        )
        backward = sum(
            b.count * op.flop for b, op in graph.ops() if (op.kind, op.phase) == (kind, "backward")
        )
        assert backward == pytest.approx(ratio * forward, rel=1e-12)


H, KV, FFN = 4096, 1024, 14336
# each product [a, b] of a layer gets [a, r] and [r, b]; q, k, v are one product, so are gates
QKV, OUT, MLP = H + (H + 2 * KV), H + H, (H + 2 * FFN) + (FFN + H)


@pytest.mark.parametrize(
    ("targets", "ranks"),
    [
        ("all-linear", QKV + OUT + MLP),
        ("attention", QKV + OUT),
        ("qkv", QKV),
        ("mlp", MLP),
    ],
)
def test_frozen_weights_get_no_gradient(targets, ranks):
    model = load("llama-3.1-8b")
    graph = build(model, WHOLE, Adapters.of(16, targets))
    trained = sum(b.count * b.weights(trainable=True) for b in graph.blocks)
    assert trained == 32 * 16 * ranks
    assert graph.weights() - trained == count(model).total
    gradients = {op.name for _, op in graph.ops() if op.weight_gradient}
    assert gradients
    assert all("adapter" in name for name in gradients)


def test_an_op_stands_once_in_the_digraph_and_flows_forward_then_backward():
    graph = build(load("mixtral-8x22b"), WHOLE)
    digraph = graph.digraph
    assert len(digraph) == sum(len(b.ops) for b in graph.blocks)
    import networkx as nx

    order = list(nx.topological_sort(digraph))  # raises where there is a cycle
    phases = [digraph.nodes[name]["op"].phase for name in order]
    assert phases.index("backward") == sum(p == "forward" for p in phases)


def test_ops_alike_differ_in_their_block_alone():
    graph = build(load("deepseek-v3"), WHOLE)
    for _, op in graph.ops():
        first = graph.alike[op.name]
        assert replace(first, name=op.name) == op
        assert first.name.partition("/")[2] == op.name.partition("/")[2]
    shared = {op.name for op in graph.alike.values()}
    assert len(shared) < len(graph.alike)  # attention stands in dense and in mixed layers
