"""Tables are whole: every file of a folder is in its table, loads, and is used by an example."""

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

import hardware_profiles
import planner
from hardware_profiles.load import load as load_profile
from hardware_profiles.load import names as profile_names
from hardware_profiles.stack import Family, load_stack, stack_names
from planner.cluster import build
from planner.emit import EMITTERS
from planner.job import Job
from planner.models.load import card
from planner.models.load import names as model_names
from planner.reading.schema import TARGETS, schema
from planner.spec import load
from planner.workloads import SHAPES

PLANNER = Path(planner.__file__).parent
PROFILES = Path(hardware_profiles.__file__).parent
ROOT = PLANNER.parent
EXAMPLES = sorted((PLANNER / "examples").glob("*.yaml"))
SYSTEMS = (
    "dgx-v100", "dgx-a100-40gb", "dgx-a100-80gb", "dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300",
    "gb200-nvl72", "gb300-nvl72", "mi300x", "mi325x", "mi355x", "tpu-v4", "tpu-v5e", "tpu-v5p",
    "tpu-v6e", "tpu-v7x", "gaudi2", "l40s", "rtx-pro-6000", "cpu-host",
)  # fmt: skip
STACKS = ("megatron-core", "megatron-2022", "megatron-deepspeed", "fsdp-eager", "fsdp-compile",
          "maxtext")  # fmt: skip
# What issue 9 ships: model, system, devices.
SHIPPED = {
    ("gpt3-175b", "dgx-a100-80gb", 1024),
    ("llama-3.1-8b", "dgx-h100", 8),
    ("llama-3.1-70b", "dgx-h100", 64),
    ("llama-3.1-70b", "dgx-h100", 1024),
    ("llama-3.1-405b", "dgx-h100", 16384),
    ("mixtral-8x22b", "dgx-h100", 256),
    ("deepseek-v3", "dgx-h100", 2048),
    ("qwen3-235b-a22b", "dgx-b200", 256),
    ("llama-2-70b", "tpu-v5p", 256),
    ("llama-2-7b", "dgx-v100", 8),
    ("megatron-1t", "dgx-a100-80gb", 3072),
}
each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def stems(folder: Path, pattern: str = "*.yaml") -> set[str]:
    return {path.stem for path in folder.glob(pattern)}


def members(folder: Path) -> dict[str, ModuleType]:
    """Modules and packages that lie directly in a package's folder, by name."""
    package = ".".join(folder.relative_to(ROOT).parts)
    found = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/*.py")}
    return {name: importlib.import_module(f"{package}.{name}") for name in found - {"__init__"}}


# Kinds of jobs


def test_every_kind_of_job_is_in_its_table() -> None:
    found = members(PLANNER / "workloads")
    assert {id(module) for module in found.values()} == {id(shape) for shape in SHAPES.values()}


def test_a_shape_has_the_name_that_its_section_reads(shape: ModuleType) -> None:
    assert SHAPES[shape.NAME] is shape
    assert issubclass(shape.Spec, BaseModel)
    assert get_args(shape.Spec.model_fields["kind"].annotation) == (shape.NAME,)


def test_every_kind_has_an_example_that_init_copies(shape: ModuleType) -> None:
    assert load(PLANNER / "examples" / f"{shape.NAME}.yaml").workload.kind == shape.NAME


# Emitters


def test_every_emitter_is_in_its_table() -> None:
    found = {name: m for name, m in members(PLANNER / "emit").items() if hasattr(m, "NAME")}
    assert {id(module) for module in found.values()} == {id(one) for one in EMITTERS.values()}
    for name, emitter in EMITTERS.items():
        assert name == emitter.NAME
        assert re.search(r"\d", emitter.TARGET), f"{name} does not say which version it was for"
        assert list(inspect.signature(emitter.emit).parameters) == ["plan"]


def test_every_template_is_read_by_a_module() -> None:
    for template in PLANNER.rglob("*.j2"):
        users = [p for p in template.parent.glob("*.py") if template.name in p.read_text("utf-8")]
        assert users, f"nothing reads {template.name}"


def test_the_schema_completes_the_names_of_the_tables() -> None:
    text = repr(schema())
    for name in (*EMITTERS, *profile_names(), *stack_names(), *model_names()):
        assert repr(name) in text, f"the schema does not offer {name}"
    assert set(TARGETS) == set(EMITTERS)


# Machines and stacks


def test_every_machine_is_in_the_table_and_the_contracts_ship() -> None:
    assert set(profile_names()) == stems(PROFILES)
    assert set(SYSTEMS) <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_a_machine_makes_clusters(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    node = profile.network[0].devices or 1
    for devices in (1, node, 4 * node):
        cluster = build(profile, devices)
        assert cluster.levels[-1].devices == devices
        insides = [level.inside for level in cluster.levels]
        assert insides == [1, *(level.devices for level in cluster.levels[:-1])]
        for hop in cluster.span((float(devices), 1.0)):
            assert float(hop.bytes_per_s) > 0.0


def test_every_stack_is_in_the_table_and_its_family_exists() -> None:
    assert set(stack_names()) == stems(PROFILES / "stacks")
    assert set(STACKS) <= set(stack_names())
    families = {load_stack(name).family.name for name in stack_names()}
    assert families == stems(PROFILES / "families"), "a family that no stack uses, or the reverse"


@pytest.mark.parametrize("name", sorted(stems(PROFILES / "families")))
def test_a_family_says_its_name(name: str) -> None:
    read = YAML(typ="safe").load((PROFILES / "families" / f"{name}.yaml").read_text("utf-8"))
    assert Family.model_validate(read).name == name


# Models


def test_every_family_of_models_is_in_the_table() -> None:
    names = model_names()
    assert len(names) == len(set(names)), "two families give one name"
    assert {card(name).family for name in names} == stems(PLANNER / "models")


# Examples


@each_example
def test_an_example_loads_and_names_what_exists(path: Path) -> None:
    job = load(path)
    assert job.name == path.stem or path.stem in SHAPES
    assert job.workload.kind in SHAPES
    assert set(job.emit) <= set(EMITTERS)
    assert set(job.hardware.systems) <= set(profile_names())
    assert job.software.preset in stack_names()


@each_example
def test_an_example_says_what_it_is_for(path: Path) -> None:
    assert re.match(r"# .{20,}", path.read_text("utf-8"))


def test_the_promised_examples_are_there() -> None:
    found = set()
    for path in EXAMPLES:
        job: Job = load(path)  # type: ignore[type-arg]
        devices = job.hardware.fixed_devices
        found |= {(job.workload.model.name, system, devices) for system in job.hardware.systems}
    assert found >= SHIPPED


# Packages


def sources() -> list[Path]:
    packages = ("costmodels", "hardware_profiles", "planner")
    return sorted(path for top in packages for path in (ROOT / top).rglob("*.py"))


def test_what_a_module_offers_is_there() -> None:
    for path in sources():
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name == "planner.__main__":
            continue
        module = importlib.import_module(name)
        assert module.__doc__, f"{name} does not say what it is for"
        for offered in getattr(module, "__all__", ()):
            assert hasattr(module, offered), f"{name} offers {offered} and has none"
        if parts[-1] != "__init__":
            assert hasattr(module, "__all__"), f"{name} does not say what it offers"


def test_an_init_holds_a_table_or_re_exports() -> None:
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    for path in (p for p in sources() if p.name == "__init__.py"):
        body = ast.parse(path.read_text("utf-8")).body
        logic = [node for node in body if not isinstance(node, plain)]
        assert logic == [], f"{path.relative_to(ROOT)} has logic"


def test_every_file_of_the_packages_travels_with_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    for top in ("costmodels", "hardware_profiles", "planner"):
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                shown = path.relative_to(ROOT)
                assert any(path.match(pattern) for pattern in patterns), f"{shown} stays behind"
