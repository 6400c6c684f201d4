"""Kernel constants: they follow from the shipped tables and hold on shapes held back."""

import numpy as np
import pytest
from check_kernels import lines
from fit_kernels import DATA, Fitted, constants_of, fit_chip, with_figures
from kernel_relatives import RELATIVES
from kernel_tables import SYSTEMS, Table, judged, predicted_s, tables

from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile

pytestmark = pytest.mark.xdist_group("kernels")  # one process fits for all
CHIPS = ("a100_sxm", "h100_sxm", "b200_sxm")
BARS = {"bf16": 0.09, "fp8": 0.10}


@pytest.fixture(scope="module")
def measured() -> list[Table]:
    return list(tables(DATA))


@pytest.fixture(scope="module")
def fitted(measured: list[Table]) -> dict[str, list[Fitted]]:
    return {chip: fit_chip(chip, measured) for chip in CHIPS}


def figure(chip: str, path: str) -> float:
    node = load(chip).model_dump()["kernels"]
    for part in path.split("."):
        node = node[part]
    return float(node["value"])


@pytest.mark.parametrize("chip", CHIPS)
def test_shipped_constants_follow_from_the_tables(
    fitted: dict[str, list[Fitted]], chip: str
) -> None:
    for one in fitted[chip]:
        for path, value in one.values.items():
            assert value == pytest.approx(figure(SYSTEMS[chip], path), rel=1e-3), path


@pytest.mark.parametrize("chip", CHIPS)
def test_products_on_shapes_held_back(fitted: dict[str, list[Fitted]], chip: str) -> None:
    errors = next(one.errors for one in fitted[chip] if one.kind == "gemm")
    for dtype, (rows, _, outside) in errors.items():
        assert rows > 2500
        assert outside < BARS[dtype], dtype


@pytest.mark.parametrize("chip", CHIPS)
def test_attention_on_shapes_held_back(fitted: dict[str, list[Fitted]], chip: str) -> None:
    """Whole prompts and single tokens, each by itself."""
    both = [one.errors["bf16"] for one in fitted[chip] if one.kind.startswith("attention")]
    assert len(both) == 2
    assert max(error[2] for error in both) < 0.12


@pytest.mark.parametrize("chip", CHIPS[1:])
def test_experts_on_layers_held_back(fitted: dict[str, list[Fitted]], chip: str) -> None:
    errors = next(one.errors for one in fitted[chip] if one.kind == "moe_gemm")
    assert all(outside < 0.14 for _, _, outside in errors.values())


def test_the_shipped_profiles_reach_the_bars_too(measured: list[Table]) -> None:
    for table in measured:
        if table.kind == "gemm":
            rows = table.rows(judged(table))
            error = predicted_s(load(SYSTEMS[table.system]), rows) / rows.time_s - 1.0
            assert np.abs(error).mean() < BARS[table.dtype], (table.system, table.dtype)


def test_few_constants_for_many_rows(measured: list[Table]) -> None:
    groups: dict[tuple[str, str], list[Table]] = {}
    for table in measured:
        groups.setdefault((table.system, table.kind), []).append(table)
    constants = sum(len(constants_of(kind, group)) for (_, kind), group in groups.items())
    assert constants < 75
    assert sum(map(len, measured)) > 500 * constants


def test_a_shape_is_held_back_whole(measured: list[Table]) -> None:
    table = next(t for t in measured if t.kind == "gemm")
    fold = table.fold(4)
    assert set(fold) == {0, 1, 2, 3}
    kept, out = (table.rows(chosen) for chosen in (fold != 0, fold == 0))
    shapes = [set(zip(t.columns["n"], t.columns["k"], strict=True)) for t in (kept, out)]
    assert not shapes[0] & shapes[1]


def test_a_wrong_constant_is_seen(measured: list[Table]) -> None:
    table = next(t for t in measured if t.kind == "gemm" and t.system == "h100_sxm")
    wrong = with_figures(load("dgx-h100"), {f"matmul.{table.dtype}.efficiency": 0.5})

    def error(profile: HardwareProfile) -> float:
        return float(np.abs(predicted_s(profile, table) / table.time_s - 1.0).mean())

    assert error(wrong) > error(load("dgx-h100")) + 0.1


@pytest.mark.parametrize("chip", sorted(RELATIVES))
def test_relatives_say_that_they_are_assumed(chip: str) -> None:
    kernels = load(chip).kernels
    relative = load(RELATIVES[chip][0].chip).kernels
    for name in type(kernels.attention_forward).model_fields:
        mine, theirs = (getattr(k.attention_forward, name) for k in (kernels, relative))
        assert mine.value == theirs.value
        assert mine.basis == "assumed"
        assert RELATIVES[chip][0].chip in mine.source


def test_the_checker_judges_every_table() -> None:
    said = lines(DATA)
    assert len(said) == 20  # a line more for each table of products: its small sides
    assert all("mean" in line for line in said)


def test_the_tables_are_small_and_name_their_licence() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 600_000
    assert "Apache License 2.0" in (DATA / "README.md").read_text()
