"""The template's layer, picked in the operator graph by hand, costs what the template says.

Left out on both sides: launch gaps, and what overlaps (switched off). With sequence parallelism
products gather their inputs again in the backward pass beside the gradient's product: where that
hides, it adds nothing; where it does not, the template leaves it out.
"""

import pytest
from rows import row, taken
from sharded import DENSE, MOE, of_region, sharding_problem, template

from planner.workloads.training.exchange import inside_block
from planner.workloads.training.kept import kept_bytes
from planner.workloads.training.layer import block_time

NAMES = {
    "matmul": "matrix products", "experts": "expert products", "attention": "attention",
    "memory": "norms and elementwise",
}  # fmt: skip
MORE = {
    "bias": {**DENSE, "linear_bias": True, "norm_bias": True, "qk_norm": True},
    "post": {**DENSE, "post_norms": True, "gated_mlp": False, "tied_embeddings": True},
}
LATENT = {
    **MOE, "kv_heads": None,
    "attention": {"kind": "mla", "q_lora_rank": 768, "kv_lora_rank": 256, "qk_nope_head_dim": 128,
                  "qk_rope_head_dim": 64, "v_head_dim": 128},
}  # fmt: skip
NAMED = ["dense", "moe", "latent", *MORE]
BIG = 1e13
BOTH = ("forward", "backward")


@pytest.mark.parametrize("sp", [False, True])
@pytest.mark.parametrize("model", [DENSE, MOE, LATENT, *MORE.values()], ids=NAMED)
def test_compute_and_memory_of_layers_are_the_templates(model: dict[str, object], sp: bool) -> None:
    ep = "moe" in model
    context, made = sharding_problem({"tp": 8, "dp": 2}, 2, model=model, limit_bytes=BIG)
    picks = template(made, sp=sp, ep=ep)
    dims = row(context, tp=8, dp=2, sp=float(sp), ep=16 if ep else 1)
    for block in context.layer_blocks:
        ours = of_region(made, picks, block.name)
        time = block_time(context, block, dims)
        for category, name in NAMES.items():
            for phase in ("forward", "backward"):
                theirs = taken(getattr(time, phase).exposed[category])
                # the template splits rotary keys that heads share, which every rank reads whole
                exact = 2e-2 if (model, category) == (LATENT, "memory") else 1e-9
                assert ours.get(f"{name}, {phase}", 0.0) == pytest.approx(theirs, rel=exact)
        kept, _, _ = kept_bytes(context, block, dims, 0.0)
        assert ours["activations"] == pytest.approx(taken(kept), rel=1e-9)
        expert = block.weights(expert=True)
        split = sum(op.weights for op in block.ops if op.split not in ("", "sequence"))
        dense = (split - expert) / 8 + block.weights() - split
        held = context.parameter_bytes * (dense + expert / (16 if ep else 1))
        # the template splits the small vectors of split operators, which every rank must hold
        small = "linear_bias" in model
        assert ours["weights"] == pytest.approx(held, rel=1e-3 if small else 1e-9)


def test_the_second_gather_shows_where_its_product_is_too_short() -> None:
    shown = []
    for bytes_per_s in (1e11, 1e13):
        fast = {"set": {"intra_node_bytes_per_s": bytes_per_s}}
        _, made = sharding_problem({"tp": 8, "dp": 2}, 16, limit_bytes=BIG, hardware=fast)
        ours = of_region(made, template(made, sp=True), "dense")
        shown.append(ours["activations gathered again"])
    assert shown[0] > 0.0 == shown[1]


@pytest.mark.parametrize("sp", [False, True])
def test_tensor_collectives_of_layers_are_the_templates(sp: bool) -> None:
    """Per layer: two all-reduces a pass, or two gathers and two scatters, alone and priced."""
    context, made = sharding_problem({"tp": 8, "dp": 2}, 2, limit_bytes=BIG)
    picks = template(made, sp=sp)
    (block,) = context.layer_blocks
    time = block_time(context, block, row(context, tp=8, dp=2, sp=float(sp)))
    calls = [c for c in made.collectives(picks) if c.axis == "tp" and c.step in BOTH]
    layers = [c for c in calls if c.tensor.startswith("dense/") and "weight" not in c.tensor]
    for step in BOTH:
        ours = sum(c.seconds * c.times for c in layers if c.step == step) / block.count
        assert ours == pytest.approx(taken(getattr(time, step).exposed["tp"]), rel=1e-9)


def test_expert_exchange_is_the_templates_on_one_axis() -> None:
    context, made = sharding_problem({"dp": 8}, 8, model=MOE, limit_bytes=BIG)
    picks = template(made, sp=False, ep=True)
    block = context.block("moe")
    assert block is not None
    traffic = inside_block(context, block, row(context, dp=8, ep=8), "forward")["ep"]
    ours = sum(
        c.seconds for c in made.collectives(picks)
        if c.tensor.startswith("moe/") and (c.kind, c.step) == ("all-to-all", "forward")
    )  # fmt: skip
    assert ours == pytest.approx(taken(traffic.seconds), rel=1e-9)


@pytest.mark.parametrize("model", [DENSE, MOE], ids=["dense", "moe"])
def test_the_graph_holds_the_templates_work(model: dict[str, object]) -> None:
    context, made = sharding_problem({"dp": 8}, 8, model=model)
    tokens = 8 * context.tokens
    blocks = context.graph.blocks
    flop = sum(b.count * op.flop for b in blocks for op in b.phase("forward"))
    assert sum(op.repeats * op.flop for op in made.graph.operators) == pytest.approx(tokens * flop)
    traffic = sum(b.count * op.traffic for b in blocks for op in b.phase("forward"))
    ours = sum(op.repeats * op.traffic_bytes for op in made.graph.operators)
    assert ours == pytest.approx(tokens * traffic * context.activation_bytes)
    weights = sum(
        made.graph.tensors[n.name].elements * n.repeats
        for n in made.nodes if n.kind == "parameter"
    )  # fmt: skip
    assert weights == context.graph.weights()
    for op in made.graph.operators:  # products: the FLOP are those of the labels
        if op.kind in ("product", "grouped"):
            sizes = 2.0
            for size in op.sizes.values():
                sizes *= size
            assert op.flop == pytest.approx(sizes, rel=1e-12)
