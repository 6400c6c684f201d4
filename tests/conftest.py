"""What every test shares: strict arithmetic, one hypothesis profile, the table of shapes.

Division by zero, overflow and invalid values raise in the code under test, because a column of
candidates would carry them on in silence. Property tests are the same on every run; to look for
new cases, run with `--hypothesis-profile=explore`.
"""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from planner.workloads import SHAPES

settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", parent=settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")
np.seterr(divide="raise", over="raise", invalid="raise", under="ignore")


@pytest.fixture(autouse=True)
def devices_of_the_environment() -> Iterator[None]:
    """Commands that make a processor look like many devices say so to what they start: undo it."""
    before = os.environ.get("XLA_FLAGS")
    yield
    if before is None:
        os.environ.pop("XLA_FLAGS", None)
    else:
        os.environ["XLA_FLAGS"] = before


@pytest.fixture(params=sorted(SHAPES))
def shape(request: pytest.FixtureRequest) -> object:
    """Every kind of job in the table, one at a time."""
    return SHAPES[request.param]
