"""A bound is a bound: no price is below it, and it is not empty."""

import numpy as np
from hypothesis import Phase, given, settings
from jobs import jobs, text_of
from rows import GPT, context_of, job_of, row, taken

from planner import spec
from planner.workloads import training


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(jobs())
def test_no_plan_is_faster_than_its_bound(raw):
    job = spec.load(text_of(raw))
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    step = np.asarray(training.times_of(context, dims.part(0, 4000)).total_s)
    assert 0 < training.bound_s(context) <= step.min()


def test_a_large_dense_model_on_one_device_is_near_its_bound():
    model = {**GPT, "layers": 4, "hidden": 8192, "ffn_hidden": 32768, "heads": 64, "kv_heads": 64}
    context = context_of(job_of(model=model, devices=1, batch=8, sequence=4096))
    dims = row(context)
    step = taken(training.times_of(context, dims).total_s)
    assert 0.6 * step < training.bound_s(context) <= step


def test_twice_the_devices_halve_the_bound():
    one, two = (
        training.bound_s(c) for c in (context_of(job_of(devices=n, batch=64)) for n in (8, 16))
    )
    assert two == one / 2
