"""Machines under test: every shipped profile, by the name of its file."""

from pathlib import Path

import pytest

import hardware_profiles
from hardware_profiles.load import load
from hardware_profiles.schema import HardwareProfile

SHIPPED = sorted(path.stem for path in Path(hardware_profiles.__file__).parent.glob("*.yaml"))


@pytest.fixture(params=SHIPPED)
def profile(request: pytest.FixtureRequest) -> HardwareProfile:
    return load(str(request.param))
