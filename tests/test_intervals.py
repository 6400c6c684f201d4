"""The table that intervals rest on follows from the errors of left-out sources in the repository.

And its intervals hold what they say on sources that they never saw.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import planner
from hardware_profiles.residuals import Residuals, load_residuals

SCRIPT = Path(planner.__file__).parents[1] / "benchmarks" / "accuracy" / "fit_intervals.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    made = importlib.util.spec_from_file_location("accuracy_fit_intervals", SCRIPT)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    sys.modules[module.__name__] = module
    made.loader.exec_module(module)
    return module


def test_the_table_follows_from_the_errors(script: ModuleType) -> None:
    assert script.calibrated(script.read_left_out()) == load_residuals()


def test_it_is_written_as_it_is_read(script: ModuleType, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    path = tmp_path / "folder" / "table.yaml"
    script.write(load_residuals(), path)
    assert Residuals.model_validate(YAML(typ="safe").load(path.read_text())) == load_residuals()


def rows(script: ModuleType, source: str, middle: float, count: int = 40) -> list[object]:
    like = script.Likeness("megatron", "hopper", "bf16", 8.0)
    noise = 0.05 * np.sin(np.arange(count) * 2.4)
    return [script.Row(source, like, middle + float(one)) for one in noise]


def test_sources_that_sit_high_or_low_widen_the_interval(script: ModuleType) -> None:
    """Runs of one source scatter by 5%, but a new source is off by what sources are off."""
    alike = [row for i in range(8) for row in rows(script, f"s{i}", 0.0)]
    middles = (-0.14, -0.1, -0.06, -0.02, 0.02, 0.06, 0.1, 0.14)
    apart = [row for i, m in enumerate(middles) for row in rows(script, f"s{i}", m)]
    like = alike[0].like
    narrow = script.interval(like, script.calibrated(alike))
    wide = script.interval(like, script.calibrated(apart))
    assert narrow.high < 1.08
    assert wide.high > 1.13
    assert script.inside(apart).mean() == pytest.approx(0.9, abs=0.08)


def test_a_source_of_many_runs_is_not_many_sources(script: ModuleType) -> None:
    few = [row for i, m in enumerate((-0.1, 0.0, 0.1)) for row in rows(script, f"s{i}", m)]
    many = [*few, *rows(script, "s1", 0.0, 2000)]
    like = few[0].like
    ends = [script.interval(like, script.table(held)).high for held in (few, many)]
    assert ends[1] > 1.0 + 0.5 * (ends[0] - 1.0)
