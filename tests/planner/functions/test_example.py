"""The shipped example of a user's own model: a vision transformer in plain JAX."""

import ast
from pathlib import Path

import pytest

import planner
from planner import recommend, spec
from planner.emit import emit_all
from planner.importers.jaxpr import import_function

EXAMPLE = Path(planner.__file__).parent / "examples" / "functions" / "vit.yaml"
LAYERS, HIDDEN, MLP, PATCHES = 24, 1024, 4096, 196


def test_products_of_the_example_by_hand() -> None:
    inputs = {"images": [2, 224, 224, 3], "labels": [2]}
    made = import_function("planner.examples.functions.vit:loss", inputs)
    rows = 2 * PATCHES
    layer = 2 * rows * HIDDEN * (4 * HIDDEN + 2 * MLP) + 4 * 2 * PATCHES**2 * HIDDEN
    ends = 2 * rows * 16 * 16 * 3 * HIDDEN + 2 * 2 * HIDDEN * 1000
    products = [op for op in made.graph.operators if op.kind == "product"]
    assert sum(op.flop * op.repeats for op in products) == LAYERS * layer + ends
    assert made.opaque == () and made.dtypes == {"images": "bfloat16", "labels": "int32"}
    assert {times for times, _ in made.graph.repeated.values()} == {LAYERS}


def test_the_example_is_planned_and_emitted() -> None:
    job = spec.load_any(EXAMPLE, sets=["strategy.sharding={mesh: {x: 16}}"])
    plan = recommend.plan(job)
    assert plan["strategy"]["dp"] == 16  # type: ignore[index]
    prediction = plan["prediction"]
    assert isinstance(prediction, dict)
    assert prediction["samples_per_s_per_device"] == pytest.approx(
        4096 / 16 / prediction["step_time_s"]
    )
    ((path, text),) = emit_all(plan, ["jax"]).items()
    assert path == "jax/train.py"
    ast.parse(text)
    assert 'FUNCTION = "planner.examples.functions.vit:loss"' in text and "FOLDER = None" in text
