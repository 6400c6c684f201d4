"""A deadline, a budget and the time to train are of a run: they need its tokens."""

import pytest

from planner.errors import SpecError
from planner.spec import load

JOB = """
workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 64%s}
hardware: {system: dgx-h100, devices: 8}
%s
"""


@pytest.mark.parametrize(
    ("section", "key", "line"),
    [
        ("constraints: {deadline_s: 86400}", "constraints.deadline_s", 4),
        ("constraints: {max_cost_usd: 1000}", "constraints.max_cost_usd", 4),
        ("objective: {metric: time_to_train}", "objective.metric", 4),
    ],
)
def test_a_limit_of_the_run_needs_tokens(section: str, key: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        load(JOB % ("", section))
    assert (caught.value.key, caught.value.line) == (key, line)
    assert "workload.tokens" in caught.value.message
    assert load(JOB % (", tokens: 1.0e9", section)).workload.tokens == 1e9
