"""A realistic plan, as a file holds it."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def plan() -> dict[str, Any]:
    text = (Path(__file__).parent / "sample_plan.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
