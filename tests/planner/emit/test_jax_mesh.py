"""The JAX file: its specs on the full mesh, and a small step of it on fake CPU devices."""

import ast
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quick_xla import FLAGS

from planner.emit.jax_mesh import emit

Plan = dict[str, Any]
Spec = tuple[Any, ...]


class Literals:
    """The constants of an emitted file; `P(...)` reads as a tuple."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, Any] = {}
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name.isupper() and name != "OPTIONS":
                    source = ast.unparse(node.value)
                    scope = {"P": lambda *parts: parts, **self.values}
                    self.values[name] = eval(source, {}, scope)  # noqa: S307

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def ways(self, entry: object) -> int:
        """Into how many parts an entry of a spec splits its dim."""
        names = () if entry is None else (entry,) if isinstance(entry, str) else entry
        return math.prod(self["AXES"][name] for name in names)

    def shard(self, name: str, specs: str) -> tuple[int, ...]:
        """Shape of one device's part of a parameter."""
        spec, shape = self[specs][name], self["SHAPES"][name]
        assert len(spec) == len(shape)
        assert all(n % self.ways(entry) == 0 for n, entry in zip(shape, spec, strict=True))
        return tuple(n // self.ways(entry) for n, entry in zip(shape, spec, strict=True))


def literals(plan: Plan) -> Literals:
    return Literals(emit(plan)["mesh.py"])


def copies(file: Literals, name: str, specs: str) -> int:
    """How many devices hold the same part of a parameter."""
    whole = math.prod(file["SHAPES"][name])
    part = math.prod(file.shard(name, specs))
    return math.prod(file["AXES"].values()) * part // whole


def test_the_case_of_the_contract(plans: dict[str, Plan]) -> None:
    file = literals(plans["case"])
    # 512 devices, tp 2, pp 4: 16 shards of each dense part, 4 replicas
    assert copies(file, "query", "SHARDED_SPECS") == 4
    assert copies(file, "down", "SHARDED_SPECS") == 4
    assert copies(file, "embedding", "SHARDED_SPECS") == 4 * 4  # on every pipeline stage
    # experts: each rank holds 1/8 of them, in 4 shards, 4 replicas; 16 copies where used
    assert copies(file, "expert_up", "SHARDED_SPECS") == 4
    assert copies(file, "expert_up", "COMPUTE_SPECS") == 16
    assert file["SHAPES"]["expert_up"][1] // file.shard("expert_up", "COMPUTE_SPECS")[1] == 8


@pytest.mark.parametrize("name", ["dense", "moe", "fsdp", "case", "plain"])
def test_every_dim_divides(plans: dict[str, Plan], name: str) -> None:
    file = literals(plans[name])
    assert math.prod(file["AXES"].values()) == plans[name]["job"]["hardware"]["devices"]
    for specs in ("COMPUTE_SPECS", "SHARDED_SPECS"):
        assert set(file[specs]) == set(file["SHAPES"])
        for parameter in file["SHAPES"]:
            file.shard(parameter, specs)
    for spec in [*file["SHARDED_SPECS"].values(), *file["ACTIVATION_SPECS"].values()]:
        flat = [n for e in spec if e is not None for n in ((e,) if isinstance(e, str) else e)]
        assert len(flat) == len(set(flat)), "an axis splits two dims of one tensor"


@pytest.mark.parametrize(
    ("zero", "sharded"),
    [
        (0, ()),
        (1, ("STATE_SPECS",)),
        (2, ("STATE_SPECS", "GRADIENT_SPECS")),
        (3, ("STATE_SPECS", "GRADIENT_SPECS", "PARAM_SPECS")),
    ],
)
def test_zero_shards_states_then_gradients_then_parameters(
    plans: dict[str, Plan], zero: int, sharded: tuple[str, ...]
) -> None:
    plans["fsdp"]["strategy"]["zero"] = zero
    file = literals(plans["fsdp"])
    for specs in ("STATE_SPECS", "GRADIENT_SPECS", "PARAM_SPECS"):
        assert copies(file, "up", specs) == (8 if specs in sharded else 64)


def test_sequence_parallelism_splits_the_residual_over_tp(plans: dict[str, Plan]) -> None:
    assert literals(plans["dense"])["ACTIVATION_SPECS"]["residual"] == ("dp", "tp", None)
    plans["dense"]["strategy"]["sp"] = False
    assert literals(plans["dense"])["ACTIVATION_SPECS"]["residual"] == ("dp", None, None)


def test_key_value_heads_that_tp_does_not_divide_stay_whole(plans: dict[str, Plan]) -> None:
    plans["dense"]["job"]["workload"]["model"]["kv_heads"] = 4
    text = emit(plans["dense"])["mesh.py"]
    assert "# Not expressible: key: kv_heads of 4 over 8 tp ranks." in text
    assert Literals(text)["COMPUTE_SPECS"]["key"] == ("pp", None, None, None)
    assert Literals(text)["COMPUTE_SPECS"]["query"] == ("pp", None, "tp", None)


Runner = Callable[[Plan], Plan]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Run an emitted file by itself on 8 fake devices, outside this checkout; once each."""
    pytest.importorskip("jax")
    known: dict[str, Plan] = {}

    def run(plan: Plan) -> Plan:
        text = emit(plan)["mesh.py"]
        if text not in known:
            folder = tmp_path_factory.mktemp("mesh")
            (folder / "mesh.py").write_text(text, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "mesh.py", "--dry-run", "8"],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "XLA_FLAGS": FLAGS},
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            known[text] = json.loads(done.stdout)
        return known[text]

    return run


def check_run(plan: Plan, report: Plan) -> None:
    """Check that every real shard is what the specs say, and that the toy learns."""
    file = literals(plan)
    assert report["devices"] == 8 == math.prod(report["mesh"].values())
    assert list(report["mesh"]) == list(file["AXES"])
    assert all(file["AXES"][axis] % size == 0 for axis, size in report["mesh"].items())
    file.values["AXES"] = report["mesh"]
    assert set(report["shards"]) == set(file["COMPUTE_SPECS"])
    for name, shard in report["shards"].items():
        file.values["SHAPES"][name] = tuple(shard["shape"])
        assert tuple(shard["param"]) == file.shard(name, "PARAM_SPECS")
        assert tuple(shard["state"]) == file.shard(name, "STATE_SPECS")
    losses = report["losses"]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[0] == pytest.approx(math.log(128), rel=0.1)  # guesses among 128 words
    assert losses[-1] < losses[0]


def test_a_step_with_tensor_pipeline_and_data_parallelism(
    plans: dict[str, Plan], ran: Runner
) -> None:
    report = ran(plans["dense"])
    check_run(plans["dense"], report)
    assert report["mesh"] == {"pp": 2, "dp": 2, "tp": 2}
    assert report["shards"]["up"]["param"] == [2, 64, 64]  # of (4, 64, 128): pp, -, tp
    assert report["shards"]["up"]["state"] == [2, 32, 64]  # ZeRO 1: over dp as well


@pytest.mark.slow
def test_a_step_with_latent_attention_and_experts(plans: dict[str, Plan], ran: Runner) -> None:
    check_run(plans["moe"], ran(plans["moe"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("dense", {"zero": 3, "recompute": "full"}),
        ("case", {"zero": 0, "pp": 4, "ep": 4, "cp": 2, "cp_comm": "a2a"}),
    ],
)
def test_losses_do_not_depend_on_the_sharding(
    plans: dict[str, Plan], planned: Callable[..., Plan], ran: Runner, name: str, other: Plan
) -> None:
    model = plans[name]["job"]["workload"]["model"]
    second = planned("other", model, other, devices=64)
    check_run(second, ran(second))
    check_run(plans[name], ran(plans[name]))
    assert ran(second)["mesh"] != ran(plans[name])["mesh"]
    assert ran(second)["losses"] == pytest.approx(ran(plans[name])["losses"], rel=1e-5)


def test_the_wrong_number_of_devices_is_one_line(plans: dict[str, Plan], tmp_path: Path) -> None:
    pytest.importorskip("jax")
    path = tmp_path / "mesh.py"
    path.write_text(emit(plans["dense"])["mesh.py"], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)],
        env={"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "the plan has 1024 devices, here are 1\n"


def check_inert(plan: Plan, text: str, spoil: Callable[[Plan, str], Plan]) -> None:
    good, bad = emit(plan)["mesh.py"], emit(spoil(plan, text))["mesh.py"]
    assert ast.dump(ast.parse(bad)) == ast.dump(ast.parse(good))


def test_names_are_inert(
    plans: dict[str, Plan], spoil: Callable[[Plan, str], Plan], hostile: tuple[str, ...]
) -> None:
    for text in hostile:
        check_inert(plans["case"], text, spoil)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=80))
def test_any_name_is_inert(
    plans: dict[str, Plan], spoil: Callable[[Plan, str], Plan], text: str
) -> None:
    check_inert(plans["case"], text, spoil)
