"""The constants of chips and stacks that ship follow from the measurements in the repository."""

import numpy as np
import pytest
from fit_intervals import read_left_out
from fit_steps import CONSTANTS, THIN, worth
from training_runs import prepared_runs

from hardware_profiles.load import load
from hardware_profiles.stack import load_stack
from planner.fitting import Bench, Constant, figure_at, fit, thinned
from planner.fitting.constants import FAMILIES

STACKS = {"megatron": "megatron-core", "fsdp": "fsdp-eager", "xla": "maxtext"}
TOLD = {
    "a100 products",
    "hopper products bf16",
    "hopper attention",
    "hopper experts",
    "blackwell products fp8",
    "v100 products",
    "tpu-v5e products",
    "megatron launch",
}
PROGRESS = 0.2
"""Standard deviations that a constant may be from where another round would put it."""


def shipped(constant: Constant) -> float:
    """Return a constant's factor as it stands in the first of its files that has the figure."""
    for file in constant.files:
        if file.startswith(FAMILIES):
            data = load_stack(STACKS[file.removeprefix(FAMILIES)]).family.model_dump()
        else:
            data = load(file).model_dump()
        figure = figure_at(data, constant.paths[0])
        if figure is not None:
            return float(str(figure["value"])) / constant.priors[0]
    raise AssertionError(f"no file has {constant.name}")


def test_another_round_of_the_fit_leaves_the_shipped_constants_where_they_are() -> None:
    """Those that the runs tell most about, with the others as they ship."""
    told = tuple(constant for constant in CONSTANTS if constant.name in TOLD)
    bench = Bench(thinned(prepared_runs(), THIN), told)
    start = {constant.name: shipped(constant) for constant in told}
    again = fit(bench, worth(bench.runs), start, rounds=1)
    for name, factor in again.factors.items():
        moved = abs(np.log(factor / start[name])) / again.deviations[name]
        assert moved < PROGRESS, f"{name}: {start[name]:.3f} shipped, {factor:.3f} fitted"
    assert set(again.factors) == TOLD
    assert len(CONSTANTS) <= len(bench.runs) / 12


def test_every_constant_says_that_it_is_fitted() -> None:
    for constant in CONSTANTS:
        if constant.of_stacks:
            continue
        figure = figure_at(load(constant.files[0]).model_dump(), constant.paths[0])
        assert figure is not None
        assert figure["basis"] == "fitted"
        assert constant.name in str(figure["source"])


def test_left_out_sources_are_predicted_as_well_as_the_documents_say() -> None:
    rows = read_left_out()
    size = np.abs(np.expm1([row.log_error for row in rows]))
    source = np.array([row.source for row in rows])
    assert len(rows) == 2006
    assert size.mean() < 0.095
    assert np.median(size) < 0.085
    assert np.mean([size[source == s].mean() for s in set(source)]) < 0.095


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda one: str(one.name))
def test_no_constant_stands_at_its_top(constant: Constant) -> None:
    assert shipped(constant) < 0.999 * constant.most
