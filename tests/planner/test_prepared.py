"""Runs made ready: whose memory a measured peak is of."""

from measured import job, runs_file

from planner.prepared import logged_stages, prepare_all, price
from planner.workloads import training


def priced(tmp_path, preset):
    path = tmp_path / f"{preset}.yaml"
    made = job(preset=preset, pp=4)
    (run,) = prepare_all([runs_file(path, [made])])
    return run, price(run), training.stage_bytes(run.context, run.dims)


def test_a_log_of_rank_0_is_compared_with_the_first_stage(tmp_path):
    run, made, stages = priced(tmp_path, "megatron-deepspeed")
    assert made.used_bytes == max(stages)
    assert made.logged_bytes == stages[0]
    assert list(logged_stages(run)) == stages[:1]


def test_other_logs_are_compared_with_the_fullest_device(tmp_path):
    run, made, stages = priced(tmp_path, "megatron-core")
    assert made.logged_bytes == made.used_bytes == max(stages)
    assert list(logged_stages(run)) == stages
