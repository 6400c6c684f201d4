"""The predictor's table: the seed's answer, fits from measured steps, wrong input."""

import json

import pytest

from planner.errors import SpecError
from planner.predictor import fitted_table, parse_measured, speedup_table


def test_the_seed_s_design() -> None:
    table = speedup_table(1.0, 0.0008, 0.04)
    assert [point["devices"] for point in table["points"]] == [2**i for i in range(11)]
    assert table["p_star"] == 34
    assert table["comm_dominated_at"] == 13
    best, even = table["at_p_star"], table["at_comm_dominated"]
    assert best is not None
    assert even is not None
    assert round(best["speedup"], 2) == 7.49
    assert round(best["efficiency"], 3) == 0.220
    assert round(best["comm_to_compute"], 2) == 3.54
    assert round(even["speedup"], 2) == 6.24


def test_counts_asked_for_come_in_their_order() -> None:
    assert [p["devices"] for p in speedup_table(1.0, 0.0, 0.04, [64, 3])["points"]] == [64, 3]


def test_no_optimum_and_no_domination_are_null_and_valid_json() -> None:
    table = speedup_table(1.0, 0.0, 0.0)
    assert table["p_star"] is None
    assert table["at_p_star"] is None
    assert table["comm_dominated_at"] is None
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_fit_of_the_printed_times_finds_the_printed_optimum() -> None:
    table = fitted_table([(1, 1.0), (8, 0.2006), (64, 0.1448), (1024, 0.8993)])
    assert table["p_star"] == 34
    assert table["comm_dominated_at"] == 13
    assert table["identified"] == ["compute_s", "alpha_s", "transfer_s"]
    assert table["fit_error"] is not None
    assert table["fit_error"] < 3e-4  # the times were printed to four digits


def test_two_counts_give_a_lower_bound() -> None:
    table = fitted_table([(1, 1.0), (8, 0.2006)])
    assert table["identified"] == ["compute_s", "transfer_s"]
    assert table["p_star"] is None
    assert table["p_star_at_least"] == 10  # sqrt(1 / (0.0756 / 7)) = 9.6


@pytest.mark.parametrize(
    "text", ["8", "8:", ":1.0", "a:1", "8:b", "8.5:1", "", "8:1:2", "9" * 5000 + ":1"]
)
def test_measured_refuses(text: str) -> None:
    with pytest.raises(SpecError, match="--measured"):
        parse_measured(text)


def test_bad_numbers_name_the_option() -> None:
    for key, constants in {
        "--compute-s": (0.0, 0.1, 0.1),
        "--alpha-s": (1.0, -0.1, 0.1),
        "--transfer-s": (1.0, 0.1, float("nan")),
    }.items():
        with pytest.raises(SpecError, match=key):
            speedup_table(*constants)
    with pytest.raises(SpecError, match="--at"):
        speedup_table(1.0, 0.1, 0.1, [0])
    with pytest.raises(SpecError, match="--measured"):
        fitted_table([(1, 1.0), (10**30, 1.0)])
    with pytest.raises(SpecError, match="at least two different counts"):
        fitted_table([(8, 1.0)])
