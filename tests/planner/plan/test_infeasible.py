"""Why nothing is feasible: the rule, the nearest miss, and a cure that works."""

import re

import pytest
from rows import job_of

from planner import recommend
from planner.errors import NoFeasiblePlan

BIG = {"name": "big", "layers": 96, "hidden": 12288, "ffn_hidden": 49152, "heads": 96,
       "vocab": 51200}  # fmt: skip


def refusal(**given):
    with pytest.raises(NoFeasiblePlan) as caught:
        recommend.plan(job_of(**given))
    return str(caught.value)


def test_a_model_that_is_too_big_says_by_how_much_and_what_would_do():
    said = refusal(model=BIG, devices=8)
    assert "exceed the memory limit" in said
    over = re.search(r"the closest by ([\d.]+) GB \(([\d.]+) of ([\d.]+) GB", said)
    assert over
    by, used, limit = (float(x) for x in over.groups())
    assert used - limit == pytest.approx(by, abs=0.11)
    assert limit == pytest.approx(85.0 * 0.94, abs=0.1)
    enough = re.search(r"It would fit with (\d+) devices", said)
    assert enough
    devices = int(enough[1])
    made = recommend.plan(job_of(model=BIG, devices=devices))
    assert made["prediction"]["fits"] is True


def test_the_memory_that_would_do_does():
    said = refusal(model=BIG, devices=8)
    gigabytes = re.search(r"with devices of (\d+) GB", said)
    assert gigabytes
    enough = (int(gigabytes[1]) + 1) * 1e9
    roomy = job_of(model=BIG, devices=8, hardware={"set": {"memory_bytes": enough}})
    assert recommend.plan(roomy)["prediction"]["fits"] is True


@pytest.mark.parametrize(
    ("limits", "key", "nearest"),
    [
        ({"deadline_s": 1.0}, "deadline_s 1 s", r"the fastest plan needs ([\d.e+]+) s"),
        ({"max_cost_usd": 0.5}, "max_cost_usd 0.5 USD", r"the cheapest costs ([\d.e+]+) USD with"),
    ],
)
def test_a_limit_of_the_run_says_how_near_the_best_plan_comes(limits, key, nearest):
    given = {"workload": {"tokens": 1e10}, "hardware": {"devices": [8, 16]}}
    said = refusal(constraints=limits, **given)
    assert key in said
    found = re.search(nearest, said)
    assert found
    reached = {name: float(found[1]) * 1.001 for name in limits}
    assert recommend.plan(job_of(constraints=reached, **given))


def test_a_token_rate_says_what_is_reached():
    said = refusal(constraints={"min_tokens_per_s": 1e12})
    found = re.search(r"the fastest reaches ([\d.e+]+) tokens/s\. ", said)
    assert found
    reached = float(found[1]) * 0.999
    assert recommend.plan(job_of(constraints={"min_tokens_per_s": reached}))


def test_rules_that_leave_no_mesh_are_named():
    said = refusal(batch=1, devices=64, sequence=512, strategy={"pp": 1, "tp": 1})
    assert "no mesh can be built" in said
    assert re.search(r"\d+ fail '[^']+'", said)


def test_the_message_is_one_line():
    for given in ({"model": BIG, "devices": 8}, {"constraints": {"min_tokens_per_s": 1e12}}):
        assert "\n" not in refusal(**given)
