"""The table of emitters, several targets at once, and unknown ones."""

import pkgutil
from importlib import import_module
from typing import Any

import pytest

import planner.emit
from planner.emit import EMITTERS, emit_all
from planner.errors import SpecError

Plan = dict[str, Any]


def test_every_emitter_of_the_folder_is_in_the_table() -> None:
    modules = [
        import_module(f"planner.emit.{m.name}") for m in pkgutil.iter_modules(planner.emit.__path__)
    ]
    found = {m.NAME for m in modules if hasattr(m, "NAME") and hasattr(m, "TARGET")}
    assert found == set(EMITTERS) == {"megatron", "torchtitan", "jax"}
    for name, emitter in EMITTERS.items():
        assert name == emitter.NAME
        assert emitter.TARGET


def test_paths_start_with_the_target(plans: dict[str, Plan]) -> None:
    files = emit_all(plans["dense"], ["megatron", "jax", "megatron", "torchtitan"])
    assert list(files) == [
        "megatron/pretrain.sh",
        "jax/mesh.py",
        "torchtitan/sixfold_plan.py",
        "torchtitan/run.sh",
    ]
    assert all(text.endswith("\n") and "\r" not in text for text in files.values())


@pytest.mark.parametrize(("wrong", "near"), [("megatorn", "megatron"), ("Jax", "jax")])
def test_an_unknown_target_gets_the_nearest(plans: dict[str, Plan], wrong: str, near: str) -> None:
    with pytest.raises(SpecError, match=f"nearest: {near}"):
        emit_all(plans["dense"], [wrong])


def test_the_same_plan_gives_the_same_bytes(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        assert emit_all(plan, list(EMITTERS)) == emit_all(plan, list(EMITTERS))


def test_emitting_leaves_the_plan_alone(plans: dict[str, Plan]) -> None:
    before = repr(plans)
    for plan in plans.values():
        emit_all(plan, list(EMITTERS))
    assert repr(plans) == before
