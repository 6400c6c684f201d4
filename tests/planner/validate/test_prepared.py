"""Runs made ready: whose memory a measured peak is of."""

import pytest
from measured import job, runs_file

from planner.strategy import RecomputeModules
from planner.validate.prepared import logged_stages, prepare_all, price
from planner.workloads import training


def priced(tmp_path, preset):
    path = tmp_path / f"{preset}.yaml"
    made = job(preset=preset, pp=4)
    (run,) = prepare_all([runs_file(path, [made])])
    return run, price(run), training.stage_bytes(run.context, run.dims)


def unlogged(run):
    """Bytes that an allocator does not hold: the context, and the buffers of two groups."""
    family = run.context.stack.family
    axes = sum(float(degree[0]) > 1 for degree in (run.dims.pp, run.dims.dp))
    return family.base_bytes.value + axes * family.group_bytes.value


def test_a_log_of_rank_0_is_compared_with_the_first_stage(tmp_path):
    run, made, stages = priced(tmp_path, "megatron-deepspeed")
    assert made.used_bytes == max(stages)
    assert made.logged_bytes == pytest.approx(stages[0] - unlogged(run), rel=1e-12)
    assert list(logged_stages(run)) == [made.logged_bytes]


def test_a_log_of_the_allocator_leaves_out_what_it_does_not_hold(tmp_path):
    run, made, stages = priced(tmp_path, "fsdp-compile")
    assert made.used_bytes == max(stages)
    assert made.logged_bytes == pytest.approx(max(stages) - unlogged(run), rel=1e-12)
    assert len(logged_stages(run)) == 4


def test_stages_that_do_not_divide_the_layers_are_dealt_them_as_the_stack_does(tmp_path):
    asked = [
        ("internevo", {"pp": 3}, (2, 3, 3)),
        ("internevo", {"pp": 3, "layers_per_stage": [3, 3, 2]}, (3, 3, 2)),
        ("internevo", {"pp": 2}, None),
        ("megatron-core", {"pp": 3}, (3, 3, 2)),
        ("megatron-core", {"pp": 5}, (1, 2, 2, 2, 1)),
        ("megatron-core", {"pp": 2, "vpp": 2, "schedule": "interleaved"}, None),
        ("megatron-core", {"pp": 3, "layers_per_stage": [4, 2, 2]}, (4, 2, 2)),
        ("megatron-2022", {"pp": 3}, None),
    ]
    for number, (preset, strategy, layers) in enumerate(asked):
        made = job(devices=2 * strategy["pp"], preset=preset, **strategy)
        (run,) = prepare_all([runs_file(tmp_path / f"{number}.yaml", [made])])
        assert run.job.strategy.layers_per_stage == layers


GPT_OSS = {"tp": 1, "pp": 4, "ep": 8}


def _by_recipe(tmp_path, runtime, **strategy):
    """Price a run of GPT-OSS on 64 H100 that names a release."""
    made = job(devices=64, **GPT_OSS, **strategy)
    made["strategy"] = {k: v for k, v in made["strategy"].items() if v is not None}
    made["workload"] |= {"model": "gpt-oss-120b", "sequence_length": 4096, "global_batch": 512}
    made["software"]["runtime"] = runtime
    (run,) = prepare_all([runs_file(tmp_path / "runs.yaml", [made])])
    return run, price(run)


def test_a_run_that_names_a_release_recomputes_what_its_recipe_does(tmp_path):
    recipe = RecomputeModules(selective=("layernorm", "moe_act"))
    run, made = _by_recipe(tmp_path, "Megatron-Bridge 26.02", recompute=None)
    assert run.job.strategy.recompute == recipe
    given, same = _by_recipe(tmp_path, "by hand", recompute={"selective": ["moe_act", "layernorm"]})
    assert (made.step_s, made.used_bytes) == (same.step_s, same.used_bytes)
    # what the run itself says goes before, and without a release the fastest that fits is taken
    given, stated = _by_recipe(tmp_path, "Megatron-Bridge 26.02", recompute="full")
    assert given.job.strategy.recompute == "full"
    unknown, fastest = _by_recipe(tmp_path, "by hand", recompute=None)
    assert unknown.job.strategy.recompute is None
    assert fastest.step_s < made.step_s < stated.step_s
    assert fastest.used_bytes > made.used_bytes > stated.used_bytes


def test_a_run_that_does_not_fit_by_its_recipe_was_not_by_it(tmp_path):
    run, made = _by_recipe(tmp_path, "Megatron-Bridge 25.11", recompute=None, micro_batch=4)
    assert run.job.strategy.recompute is None
    assert made.fits


def test_the_embedding_and_the_head_may_be_virtual_stages_of_their_own(tmp_path):
    """Llama 3.1 405B in Megatron-Bridge: 126 layers on 16 stages of 8 chunks, 128 in all."""
    step_s = {}
    for stages in (4, 5):
        made = job(devices=stages, pp=stages, vpp=2, schedule="interleaved")
        (run,) = prepare_all([runs_file(tmp_path / f"{stages}.yaml", [made])])
        step_s[stages] = price(run).step_s
    # 8 layers: two on every stage of 4; of 5 the ends hold one each, the head's one of them
    assert 0.5 * step_s[4] < step_s[5] < 0.9 * step_s[4]


def test_of_choices_that_a_run_leaves_open_the_fastest_that_fits_is_priced(tmp_path):
    """Where the footprint says that none fits, the leanest: what ran did fit."""
    seen = {}
    for number, capacity in enumerate((85e9, 20e9, 1e9)):
        made = job(micro_batch=8)
        del made["strategy"]["recompute"]
        made["hardware"]["set"] = {"memory_bytes": capacity}
        (run,) = prepare_all([runs_file(tmp_path / f"{number}.yaml", [made])])
        seen[capacity] = price(run)
    assert [made.fits for made in seen.values()] == [True, True, False]
    assert seen[85e9].step_s < seen[20e9].step_s < seen[1e9].step_s
    assert seen[85e9].used_bytes > 20e9 > seen[20e9].used_bytes > seen[1e9].used_bytes > 1e9
    assert len(run.dims) > len(run.that_fit().dims) == 1


@pytest.mark.parametrize(
    ("preset", "targets"), [("megatron-core", "qkv"), ("fsdp-compile", "all-linear")]
)
def test_adapters_are_on_the_products_that_the_recipes_of_a_stack_name(tmp_path, preset, targets):
    made = job(preset=preset, zero=2)
    made["workload"]["task"] = "lora"
    (run,) = prepare_all([runs_file(tmp_path / "lora.yaml", [made])])
    assert run.job.workload.lora.targets == targets


def test_other_logs_are_compared_with_the_fullest_device(tmp_path):
    run, made, stages = priced(tmp_path, "megatron-core")
    assert made.logged_bytes == made.used_bytes == max(stages)
    assert list(logged_stages(run)) == stages
