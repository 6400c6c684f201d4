"""A plan read back with types, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.emit.view import read
from planner.errors import SpecError

Plan = dict[str, Any]


def test_reads_every_degree(plans: dict[str, Plan]) -> None:
    view = read(plans["case"])
    mesh = view.mesh
    assert (mesh.tp, mesh.cp, mesh.pp, mesh.dp, mesh.ep, mesh.etp) == (2, 2, 4, 32, 8, 1)
    assert mesh.devices == 512
    assert mesh.replicas == 4
    assert mesh.layout == (12, 12, 12, 12)
    assert mesh.order == ("tp", "cp", "dp", "pp")


def test_counts_steps_and_checkpoints(plans: dict[str, Plan]) -> None:
    view = read(plans["dense"])
    assert view.steps == 1_788_140  # ceil(15e12 / (1024 * 8192))
    assert view.checkpoint_steps == 180
    assert read(plans["moe"]).steps is None


def test_missing_prediction_is_not_an_error(plans: dict[str, Plan]) -> None:
    plan = plans["dense"]
    del plan["prediction"]
    assert read(plan).checkpoint_steps is None


def test_switches_of_the_job_replace_those_of_the_preset(plans: dict[str, Plan]) -> None:
    assert read(plans["fsdp"]).switches.compile is True
    plans["fsdp"]["job"]["software"]["compile"] = False
    assert read(plans["fsdp"]).switches.compile is False


@pytest.mark.parametrize(
    ("system", "devices", "hosts"), [("dgx-h100", 64, 8), ("dgx-h100", 12, 6), ("no-such", 4, 4)]
)
def test_devices_of_a_host_divide_the_devices(
    planned: Callable[..., Plan], plans: dict[str, Plan], system: str, devices: int, hosts: int
) -> None:
    model = plans["fsdp"]["job"]["workload"]["model"]
    plan = planned("x", model, {}, devices=devices, system=system, global_batch=devices)
    assert read(plan).host_devices == hosts


def spoil_kind(plan: Plan) -> None:
    plan["job"]["workload"]["kind"] = "serving"


def spoil_job(plan: Plan) -> None:
    plan["job"]["workload"]["model"]["layers"] = "many"


def spoil_strategy(plan: Plan) -> None:
    plan["strategy"]["tensor"] = 8


def spoil_batch(plan: Plan) -> None:
    plan["strategy"]["micro_batch"] = 7


def spoil_group(plan: Plan) -> None:
    plan["strategy"]["zero_group"] = 7


def spoil_layout(plan: Plan) -> None:
    plan["strategy"]["layers_per_stage"] = [20, 20, 20]


def spoil_ep(plan: Plan) -> None:
    plan["strategy"]["ep"] = 3


def spoil_dp(plan: Plan) -> None:
    plan["strategy"]["dp"] = None


def spoil_parts(plan: Plan) -> None:
    plan["parts"] = []


def spoil_whole(plan: Plan) -> None:
    plan.clear()


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (spoil_kind, "job.workload.kind"),
        (spoil_job, "job.workload.model.layers"),
        (spoil_strategy, "strategy.tensor"),
        (spoil_batch, "strategy.micro_batch"),
        (spoil_group, "strategy.zero_group"),
        (spoil_layout, "strategy.layers_per_stage"),
        (spoil_ep, "strategy.ep"),
        (spoil_dp, "strategy.dp"),
        (spoil_parts, "parts"),
        (spoil_whole, "job"),
    ],
)
def test_refuses_what_is_not_a_plan(
    plans: dict[str, Plan], spoil: Callable[[Plan], None], key: str
) -> None:
    plan = plans["dense"]
    spoil(plan)
    with pytest.raises(SpecError) as caught:
        read(plan)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
