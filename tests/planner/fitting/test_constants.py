"""Constants stand where they say, scale from their priors, and stop at their top."""

import pytest

from hardware_profiles.load import load
from hardware_profiles.stack import load_stack
from planner.fitting import Constant, figure_at
from planner.fitting.constants import scaled_profile, scaled_stack

PRODUCTS = Constant("products", ("dgx-h100",), ("kernels.matmul.bf16.efficiency",), (0.8,))
LINK = Constant("link", ("dgx-h100",), ("network.0.efficiency", "network.9.efficiency"), (0.7, 1))
LAUNCH = Constant("launch", ("families/megatron",), ("launch_s",), (5e-5,), top=1.0)


def test_a_profile_is_scaled_from_the_prior_not_from_what_it_holds():
    made = scaled_profile(load("dgx-h100"), (PRODUCTS, LAUNCH), {"products": 0.5, "launch": 9})
    assert made.kernels.matmul["bf16"].efficiency.value == pytest.approx(0.4)
    assert made.network == load("dgx-h100").network


def test_a_list_is_entered_by_number_and_what_is_absent_is_passed_over():
    made = scaled_profile(load("dgx-h100"), (LINK,), {"link": 1.1})
    assert made.network[0].efficiency.value == pytest.approx(0.77)
    data = load("dgx-h100").model_dump()
    assert figure_at(data, "network.9.efficiency") is None
    assert figure_at(data, "kernels.matmul") is None


def test_no_figure_passes_its_top():
    assert PRODUCTS.values(3.0) == (0.95,)
    assert PRODUCTS.most == pytest.approx(0.95 / 0.8)


def test_other_machines_and_families_stay():
    assert scaled_profile(load("dgx-h200"), (PRODUCTS,), {"products": 0.5}) == load("dgx-h200")
    megatron, fsdp = load_stack("megatron-core"), load_stack("fsdp-eager")
    made = scaled_stack(megatron, (LAUNCH, PRODUCTS), {"launch": 2.0, "products": 1.0})
    assert made.family.launch_s.value == pytest.approx(1e-4)
    assert scaled_stack(fsdp, (LAUNCH,), {"launch": 2.0}) == fsdp
