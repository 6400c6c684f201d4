"""Single modules run again: what they free and take, by hand, and laws over sets of them."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import GPT, context_of, job_of, row, taken

from planner import spec
from planner.dims import MODULES, RECOMPUTE, code_of_modules, modules_of
from planner.workloads import training
from planner.workloads.training.at_work import layer_bytes
from planner.workloads.training.kept import kept_bytes
from planner.workloads.training.layer import block_time
from planner.workloads.training.modules import exchanged, run_again, sets_in, worth_trying
from planner.workloads.training.passes import recomputed
from planner.workloads.training.strategy import strategy_of

H, TOP, WIDTH, TOKENS, LOAD = 2048, 2, 1024, 2048, 1.25
Q_RANK, KV_RANK, QUERY, VALUE = 512, 256, 16 * (128 + 64), 16 * 128
LATENT = {"kind": "mla", "q_lora_rank": Q_RANK, "kv_lora_rank": KV_RANK, "qk_nope_head_dim": 128,
          "qk_rope_head_dim": 64, "v_head_dim": 128}  # fmt: skip
MOE = {"experts": 8, "top_k": TOP, "ffn_hidden": WIDTH, "first_dense_layers": 2,
       "shared_experts": 1, "imbalance": LOAD}  # fmt: skip
MIXTURE = {**GPT, "gated_mlp": True, "position": "rope", "moe": MOE}
DEEP = {**MIXTURE, "attention": LATENT}


def context(model=DEEP, **given):
    return context_of(job_of(model=model, devices=16, batch=64, **given))


def block(made, name):
    return next(b for b in made.layer_blocks if b.name.startswith(name))


def kept(made, name, *modules, **mesh):
    dims = row(made, recompute=modules or "none", **mesh)
    return taken(kept_bytes(made, block(made, name), dims, dims.recompute)[0])


def seconds(made, name, *modules, **mesh):
    dims, code = row(made, **mesh), code_of_modules(modules)
    time = block_time(made, block(made, name), dims, modules=[code])
    return taken(recomputed(time, np.array([float(code)])).total_s)


def test_a_set_of_modules_is_one_code_and_the_attention_core_alone_is_selective():
    codes = {
        code_of_modules(names): names
        for size in range(1, len(MODULES) + 1)
        for names in combinations(MODULES, size)
    }
    assert len(codes) == 2 ** len(MODULES) - 1
    assert codes.pop(RECOMPUTE.index("selective")) == ("core_attn",)
    assert all(modules_of(code) == names for code, names in codes.items())
    assert [modules_of(code) for code in range(len(RECOMPUTE))] == [()] * len(RECOMPUTE)
    assert code_of_modules(("moe", "mlp")) == code_of_modules(("mlp", "moe", "mlp"))
    assert sets_in(np.array([0.0, 12.0, 4.0, 7.0, 12.0])) == [7, 12]
    assert sets_in(np.array([0.0, 4.0])) == []


# elements of a token that a layer does not keep, by module; 2 bytes each but in fp8
FREED = {
    ("moe", "moe_act"): (TOP * WIDTH * LOAD, 0),
    ("moe", "layernorm"): (0, 2 * H),  # before latent attention and before the router
    ("dense", "layernorm"): (0, H),  # the norm before the MLP is part of its product
    ("moe", "mla_up_proj"): (Q_RANK + KV_RANK, 2 * QUERY + VALUE),
    ("dense", "mla_up_proj"): (Q_RANK + KV_RANK, 2 * QUERY + VALUE),
    ("dense", "mlp"): (H + 8192, 2 * 8192),  # the normed input and the down product's; activation's
    ("moe", "mlp"): (0, 0),
    ("dense", "moe"): (0, 0),
    ("moe", "shared_experts"): (WIDTH, 2 * WIDTH),
    ("moe", "moe"): (
        WIDTH + LOAD * TOP * (H + WIDTH),
        2 * WIDTH + LOAD * TOP * 2 * WIDTH,
    ),
    ("moe", "core_attn"): (0, 0),
}


@pytest.mark.parametrize(("name", "module"), FREED)
def test_what_a_module_frees(name, module):
    made = context()
    products, others = FREED[name, module]
    freed = kept(made, name) - kept(made, name, module)
    assert freed == pytest.approx(2 * TOKENS * (products + others), rel=1e-12, abs=1e-3)


def test_a_clamped_copy_is_kept_unless_the_activation_is_run_again_or_joined():
    """Gate and up of every copy of a token, clamped beside the ones that were not."""
    clamped = {**DEEP, "mlp_clamp": True}
    copy = 2 * TOKENS * LOAD * TOP * 2 * WIDTH
    made, plain = context(clamped), context()
    assert kept(made, "moe") - kept(plain, "moe") == pytest.approx(copy, rel=1e-12)
    for modules in (("moe_act",), ("moe",), ("moe", "moe_act", "layernorm")):
        assert kept(made, "moe", *modules) == pytest.approx(kept(plain, "moe", *modules))
    joined = {"fused_experts": True}
    made, plain = context(clamped, software=joined), context(software=joined)
    assert kept(made, "moe") == kept(plain, "moe")


def test_in_low_precision_inputs_of_products_are_smaller_and_the_router_s_is_not():
    made = context(precision="fp8")
    freed = kept(made, "moe") - kept(made, "moe", "moe_act")
    assert freed == pytest.approx(TOKENS * TOP * WIDTH * LOAD, rel=1e-12)
    # norm before attention: 1 byte; before experts: the router's 2, and the shared expert's copy
    freed = kept(made, "moe") - kept(made, "moe", "layernorm")
    assert freed == pytest.approx(TOKENS * (H + 2 * H + H), rel=1e-12)


def test_without_low_rank_queries_the_projection_reads_what_the_norm_gave():
    plain = {k: v for k, v in LATENT.items() if k != "q_lora_rank"}
    made = context({**MIXTURE, "attention": plain})
    freed = kept(made, "moe") - kept(made, "moe", "mla_up_proj")
    assert freed == pytest.approx(2 * TOKENS * (KV_RANK + 2 * QUERY + VALUE), rel=1e-12)
    layer = block(made, "moe")
    again = [op.name for op in run_again(layer, code_of_modules(["mla_up_proj"]))]
    assert again == [f"{layer.name}/{part}" for part in ("q", "kv norm", "kv up", "rope")]


def test_unfused_attention_frees_its_softmax_once():
    made = context(software={"flash_attention": False})
    scores = 2 * TOKENS * 2.5 * 16 * TOKENS
    projected = 2 * TOKENS * (Q_RANK + KV_RANK + 2 * QUERY + VALUE)
    for modules, freed in (
        (("core_attn", "mlp"), scores),
        (("mla_up_proj",), projected),
        (("core_attn", "mla_up_proj"), scores + projected),
    ):
        assert kept(made, "moe") - kept(made, "moe", *modules) == pytest.approx(freed, rel=1e-12)


def test_norms_of_grouped_attention_are_part_of_the_product_and_stay():
    made = context(MIXTURE)
    assert kept(made, "dense", "layernorm") == kept(made, "dense")
    freed = kept(made, "moe") - kept(made, "moe", "layernorm")
    assert freed == pytest.approx(2 * TOKENS * H, rel=1e-12)


def test_the_largest_module_stands_once_more_while_its_layer_is_at_work():
    made = context()
    dims = {m: row(made, recompute=m) for m in ("none", ("moe_act",), ("moe_act", "mla_up_proj"))}
    at_work = {
        m: taken(layer_bytes(made, block(made, "moe"), d, d.recompute, 1.0)[1])
        for m, d in dims.items()
    }
    activation = 2 * TOKENS * TOP * WIDTH * LOAD
    projected = 2 * TOKENS * (Q_RANK + KV_RANK + 2 * QUERY + VALUE)
    assert at_work[("moe_act",)] - at_work["none"] == pytest.approx(activation)
    both = at_work[("moe_act", "mla_up_proj")] - at_work["none"]
    assert both == pytest.approx(max(activation, projected))


def test_seconds_of_an_activation_and_of_norms_by_hand():
    """Each is a kernel over memory: gate and up read, a product written; rows read and written."""
    made = context()
    rates, family = made.rates, made.stack.family
    for module, elements, kernels in (
        ("moe_act", 3 * TOP * WIDTH, 1), ("layernorm", 2 * 2 * H, 2),
    ):  # fmt: skip
        busy = kernels * rates.memory_fixed_s + 2 * TOKENS * elements / rates.memory_bytes_per_s
        host = kernels * family.launch_s.value
        power = family.launch_power.value
        joined = (busy**power + host**power) ** (1 / power)
        assert seconds(made, "moe", module) == pytest.approx(joined, rel=1e-9)


def test_a_mixture_run_again_exchanges_its_tokens_again_and_a_norm_exchanges_nothing():
    made = context()
    layer = block(made, "moe")
    assert exchanged(layer, code_of_modules(["moe"]), "ep") == 1.0
    # of out, down of the shared expert: one of two pairs of split products
    assert exchanged(layer, code_of_modules(["moe"]), "tp") == 0.5
    assert exchanged(layer, code_of_modules(["shared_experts", "moe"]), "tp") == 0.5
    for names in (["layernorm", "moe_act"], ["mla_up_proj"], ["core_attn", "mlp"]):
        assert [exchanged(layer, code_of_modules(names), a) for a in ("tp", "cp", "ep")] == [0] * 3
    assert exchanged(block(made, "dense"), code_of_modules(["mlp"]), "tp") == 0.5
    inside = seconds(made, "moe", "moe", ep=8)
    slower = context(hardware={"set": {"intra_node_bytes_per_s": 1e10}})
    assert seconds(slower, "moe", "moe", ep=8) > 2 * inside
    assert seconds(slower, "moe", "moe_act", ep=8) == seconds(made, "moe", "moe_act", ep=8)


MESHES: tuple[dict[str, int], ...] = (
    {}, {"tp": 2, "ep": 4}, {"pp": 4, "ep": 4}, {"cp": 2, "micro_batch": 2},
)  # fmt: skip
SETS = st.sets(st.sampled_from(MODULES), min_size=1).map(sorted).map(tuple)


@settings(max_examples=60)
@given(SETS, st.sampled_from(MODULES), st.sampled_from(("bf16", "fp8")), st.booleans(),
       st.sampled_from(MESHES))  # fmt: skip
def test_more_modules_never_keep_more_and_are_never_faster(names, more, precision, latent, mesh):
    made = context(DEEP if latent else MIXTURE, precision=precision)
    few, many = (row(made, recompute=tuple(sorted({*names, *extra})), **mesh)
                 for extra in ((), (more,)))  # fmt: skip
    none, full = (row(made, recompute=mode, **mesh) for mode in ("none", "full"))
    step = [taken(training.cost(made, d).total_s) for d in (none, few, many)]
    used = [taken(training.memory_of(made, d).total_bytes) for d in (full, many, few, none)]
    assert step == sorted(step)
    assert all(less <= most * (1 + 1e-12) for less, most in zip(used, used[1:], strict=False))


def test_a_bound_of_a_plan_with_modules_is_below_its_price():
    made = context()
    for modules in (("moe_act",), ("mla_up_proj", "layernorm"), MODULES):
        for mesh in ({}, {"tp": 2, "ep": 4}, {"pp": 2, "ep": 2}):
            dims = row(made, recompute=modules, **mesh)
            least, price = training.least_s(made, dims), training.cost(made, dims).total_s
            assert taken(least) <= taken(price)
            plain = training.least_s(made, row(made, **mesh))
            assert taken(plain) < taken(least)


def test_a_plan_with_modules_is_written_and_read_again():
    job = job_of(model=DEEP, devices=16, batch=64, strategy={
        "recompute": {"selective": ["moe_act", "layernorm"]}, "pp": 2,
        "stages": [{"layers": 4, "recompute": {"selective": ["mla_up_proj"]}}, {"layers": 4}],
    })  # fmt: skip
    assert spec.load(json.dumps(spec.dump(job))) == job
    made = context_of(job)
    dims, _ = training.candidates(job, made)
    written = strategy_of(made, dims.part(0, 1), 0)
    assert written["recompute"] == {"selective": ["moe_act", "layernorm"]}
    stages = written["stages"]
    assert [stage.get("recompute") for stage in stages] == [{"selective": ["mla_up_proj"]}, None]
    core = job_of(model=DEEP, devices=16, strategy={"recompute": {"selective": ["core_attn"]}})
    dims, _ = training.candidates(core, context_of(core))
    assert strategy_of(context_of(core), dims.part(0, 1), 0)["recompute"] == "selective"


def test_sets_worth_trying_are_nested_and_of_the_model():
    def sets(model, preset="megatron-core"):
        job = job_of(model=model, devices=16, preset=preset)
        return [modules_of(code) for code in worth_trying(context_of(job))]

    assert sets(DEEP) == [("mla_up_proj",), ("moe_act", "layernorm", "mla_up_proj")]
    assert sets(MIXTURE) == [("moe_act",), ("moe_act", "layernorm")]
    assert sets(GPT) == []
    assert sets(DEEP, "fsdp-eager") == []
